"""The nine members of the paper's ensemble, and ours, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras

from kit import models
from kit.spec import YOUTUBE_8M, FrameSpec


@dataclass(frozen=True)
class Member:
    """One row of the paper's table 3.

    Args:
        title: The paper's spelling.
        builder: Name of a builder in `kit.models`.
        arguments: What the builder is given at the paper's size.
        num_frames: Frames of a video that a training example has: five, those
            of a segment, unless said.
        shifts: Frames to look later, of test-time augmentation.
        published: The paper's weight in the ensemble, in per cent, and its
            MAP@100K on Kaggle's public and private boards.
        learning_rate_factor: Times a stage's learning rate.
        num_windows: Windows of a video that a training example has, where it
            is a bag of them; each has the frames of a segment.
        pooling: From the windows to the video, see `kit.layers.BagPooling`.
    """

    title: str
    builder: str
    arguments: Mapping[str, object]
    num_frames: int = YOUTUBE_8M.segment_frames
    shifts: tuple[int, ...] = (-1, 0, 1)
    published: tuple[float, float, float] | None = None
    learning_rate_factor: float = 1.0
    num_windows: int | None = None
    pooling: str = "linear_softmax"


# The published weights sum to 100.20.
MEMBERS = {
    "GatedNetVLAD": Member(
        title="GatedNetVLAD(H1024C16)",
        builder="gated_netvlad",
        arguments={"num_clusters": 16, "hidden_dim": 1024},
        published=(0.22, 0.7629, 0.7556),
    ),
    "BERT-L2h12": Member(
        title="BERT(L2h12)",
        builder="bert",
        arguments={"num_layers": 2, "num_heads": 12, "pooling": "concat"},
        published=(2.81, 0.7729, 0.7680),
    ),
    "BERTCrossMean": Member(
        title="BERTCrossMean(L2h8)",
        builder="bert_cross",
        arguments={"num_layers": 1, "num_heads": 8, "pooling": "mean"},
        published=(4.90, 0.7748, 0.7680),
    ),
    "BERT-L3h12": Member(
        title="BERT(L3h12)",
        builder="bert",
        arguments={"num_layers": 3, "num_heads": 12, "pooling": "concat"},
        published=(13.88, 0.7751, 0.7688),
    ),
    "BERTCrossAttn": Member(
        title="BERTCrossAttn(L2h8)",
        builder="bert_cross",
        arguments={"num_layers": 1, "num_heads": 8, "pooling": "attention"},
        published=(5.97, 0.7758, 0.7692),
    ),
    "BERTFirst": Member(
        title="BERTFirst(L2h12)",
        builder="bert",
        arguments={"num_layers": 2, "num_heads": 12, "pooling": "first"},
        shifts=(-2, -1, 0, 1),
        published=(19.67, 0.7792, 0.7707),
    ),
    "MixNeXtVLAD-300": Member(
        title="MixNeXtVLAD(Iter 300)",
        builder="mix_next_vlad",
        arguments={"num_branches": 3, "num_clusters": 112, "num_groups": 8},
        num_frames=300,
        published=(20.03, 0.7809, 0.7711),
    ),
    "MixNeXtVLAD-60": Member(
        title="MixNeXtVLAD(Iter 60)",
        builder="mix_next_vlad",
        arguments={"num_branches": 3, "num_clusters": 112, "num_groups": 8},
        num_frames=60,
        shifts=(0, 1, 2),
        published=(17.26, 0.7796, 0.7721),
    ),
    "BERTMean": Member(
        title="BERTMean(L2h12)",
        builder="bert",
        arguments={"num_layers": 2, "num_heads": 12, "pooling": "mean"},
        shifts=(-2, -1, 0, 1),
        published=(15.46, 0.7802, 0.7725),
    ),
}

# The same architectures, pre-trained on bags of windows of a video.  The paper
# takes one random window, as if every label held throughout the video.
OURS = {
    f"Bag{name}": replace(
        member,
        title=f"{member.title}, bags",
        num_frames=YOUTUBE_8M.segment_frames,
        published=None,
        num_windows=8,
    )
    for name, member in MEMBERS.items()
}
# One that also sees the frames around a segment, and is told which they are.
CONTEXT = 2  # on each side
OURS["ContextGatedNetVLAD"] = replace(
    OURS["BagGatedNetVLAD"],
    title="GatedNetVLAD(H1024C16), bags, context",
    arguments={**MEMBERS["GatedNetVLAD"].arguments, "context": CONTEXT},
)

# A plain model that goes through the same stages, to compare the members to.
REFERENCE = "Logistic"
BASELINES = {
    REFERENCE: Member(
        title="logistic regression on the mean frame",
        builder="frame_mean",
        arguments={},
        shifts=(0,),
        # Convex, and without a layer below that a step could upset.
        learning_rate_factor=10.0,
    ),
}

# What `scale="tiny"` changes: sizes at which a member trains on the sample in
# a minute on two cores.  Batch normalisation forgets faster, since there are
# tens of steps where the paper had 200,000.
_TINY_VLAD = dict(num_clusters=8, hidden_dim=128, momentum=0.9)
_TINY_BERT = dict(
    num_heads=4, feed_forward_dim=256, projection_dim=128, num_mixtures=2
)
TINY = {
    "gated_netvlad": dict(_TINY_VLAD, num_mixtures=2),
    "mix_next_vlad": _TINY_VLAD
    | dict(num_groups=4, expansion=1 / 16, reduction=8, dropout_rate=0.2),
    "bert": _TINY_BERT,
    "bert_cross": _TINY_BERT,
    "frame_mean": {},
}
TINY_FRAMES = 20  # of a training example, where the paper's member sees more


def member(name: str) -> Member:
    """The member, or the baseline, of that name.

    Raises:
        ValueError: Where there is none.
    """
    members = MEMBERS | OURS | BASELINES
    if name not in members:
        raise ValueError(
            "A member must be one of the paper's nine, of ours, or the "
            f"baseline: {', '.join(members)}. Received: {name!r}"
        )
    return members[name]


def parse_members(names: str | Sequence[str]) -> list[str]:
    """The members that a text names, separated by commas.

    Raises:
        ValueError: Where one is unknown, or named twice.
    """
    parts = names.split(",") if isinstance(names, str) else names
    parts = [part.strip() for part in parts if part.strip()]
    for part in parts:
        member(part)
    if not parts or len(set(parts)) < len(parts):
        rule = "Members must be named, each once."
        raise ValueError(f"{rule} Received: {names!r}")
    return parts


def sampling(
    name: str, scale: str = "paper", spec: FrameSpec = YOUTUBE_8M
) -> dict:
    """Which frames a pre-training example has.

    Arguments of `data.Snippets`, or of `data.Bags` where a member has
    `num_windows`.  A member that sees a segment gets as many frames, in a row;
    one that sees a video gets 60 or 300 frames from anywhere; a bag gets
    windows as long as a segment with its context.
    """
    num_frames, num_windows = member(name).num_frames, member(name).num_windows
    context = member(name).arguments.get("context", 0)
    if num_windows:
        num_frames = spec.segment_frames + 2 * context
        return {"num_frames": num_frames, "num_windows": num_windows}
    if num_frames == YOUTUBE_8M.segment_frames:
        return {"num_frames": spec.segment_frames, "contiguous": True}
    most = TINY_FRAMES if scale == "tiny" else num_frames
    num_frames = min(num_frames, most, spec.max_frames)
    return {"num_frames": num_frames, "contiguous": False}


def build(
    name: str,
    num_classes: int = 3862,
    *,
    class_ids: Sequence[int] | None = None,
    spec: FrameSpec = YOUTUBE_8M,
    scale: str = "paper",
    seed: int = 0,
) -> keras.Model:
    """Builds a member of the ensemble, without pre-trained weights.

    Args:
        name: A key of `MEMBERS`, `OURS` or `BASELINES`.
        num_classes: How many classes, with the ids 0, 1, 2 and so on.
        class_ids: Their vocabulary ids instead, where they are others.
        spec: The `FrameSpec` of the data.
        scale: `"paper"`, or `"tiny"` for the same architecture in a size
            that trains on two cores.
        seed: Passed to `keras.utils.set_random_seed`, so that the same seed
            gives the same model.

    Returns:
        A model as described in `kit.models`.

    Raises:
        ValueError: Where the name or the scale is unknown, or the member
            cannot be built for `spec`: heads must divide a BERT's width.
    """
    preset = member(name)
    if scale not in ("paper", "tiny"):
        raise ValueError(
            f"`scale` must be 'paper' or 'tiny'. Received: scale={scale!r}"
        )
    keras.utils.set_random_seed(seed)
    arguments = dict(preset.arguments)
    if scale == "tiny":
        arguments |= TINY[preset.builder]
        if "expansion" in arguments and spec.dim < 256:
            arguments["expansion"] = 1  # frames this short need no narrowing
    if arguments.get("pooling") == "concat":
        arguments["num_frames"] = spec.segment_frames
    ids = range(num_classes) if class_ids is None else class_ids
    return getattr(models, preset.builder)(ids, spec, **arguments)
