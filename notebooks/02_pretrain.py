# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · Pre-train on video labels
#
# Millions of videos carry labels of the whole video.  A label rarely holds in
# every five frames of it, but over many videos the right frames win: section 7
# of [the paper](https://arxiv.org/abs/1912.01127) (Shao and Liu, 2019) trains
# on random snippets as if the video's labels were theirs, and reaches most of
# its final score before any segment was rated.
#
# **In**: `train` shards, and the `validate` shards but for the hold-out.
# **Out**: `<member>/pretrain/` with weights, history and what was trained.
# **Time**: two minutes on the sample; the paper's 200,000 steps take hours a
# member on a T4.  **Score to expect**: well above a random order, below what
# notebook 3 reaches.

# %% tags=["parameters"]
data_dir = "find"  # folder of shards; "find": attached ones, or a sample
output_dir = "outputs"  # where results go
seed = 0  # of everything drawn at random, the generated sample included
members = "GatedNetVLAD, BERT-L2h12, BERTCrossMean, BERT-L3h12, BERTCrossAttn, \
BERTFirst, MixNeXtVLAD-300, MixNeXtVLAD-60, BERTMean"  # the paper's nine
scale = "paper"  # or "tiny", the same architectures for two CPU cores
epochs = 40  # of steps_per_epoch each
steps_per_epoch = 5_000  # then the hold-out is scored, and training backed up
batch_size = 128  # examples a step
bag_batch_size = 32  # the same, where an example is a bag of eight windows
learning_rate = 1e-4  # times 0.9 every 2 M examples
holdout_fraction = 300 / 3844  # share of the videos that is never trained on
num_classes = 3862  # size of the vocabulary of the video labels
pack_dir = ""  # a folder: read the shards once, into a pack of snippets there
precision = "auto"  # or a dtype policy of Keras, such as "mixed_bfloat16"
devices = "one"  # "all": each batch is shared by all GPUs
hours = 11.5  # then it stops, and goes on when it is run again
rgb = 1024  # visual features a frame
audio = 128  # audio features a frame
max_frames = 300  # the most frames that a video has
segment_frames = 5  # frames of a segment

# %%
import os
import sys
from glob import glob

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow talks a lot
DRIVE = "/content/drive/MyDrive/yt8m-segment-kit"
attached = glob("/kaggle/input/**/yt8m-segment-kit", recursive=True)
sys.path += [".", "..", f"{sys.path[0]}/..", DRIVE, *attached]

# %%
from dataclasses import asdict

import keras
import pandas as pd

from kit import (
    data,
    losses,
    metrics,
    models,
    pack,
    plots,
    presets,
    runtime,
    sample,
    training,
)
from kit.spec import FrameSpec
from kit.splits import Holdout

given = runtime.flags(globals())  # of a script: its command line
globals().update(given)
output_dir = runtime.workspace(output_dir)
data_dir = runtime.find_data(data_dir, output_dir, seed)
class_ids, names = data.read_classes(data_dir)
spec = FrameSpec(rgb, audio, max_frames, segment_frames)
if sample.is_sample(data_dir):
    print("SIMULATED data: no score here is one of YouTube-8M.")
    small = {
        "members": "BERTMean, GatedNetVLAD, BagBERTMean, BagGatedNetVLAD, \
ContextGatedNetVLAD",
        "scale": "tiny",
        "epochs": 8,
        "steps_per_epoch": 40,
        "batch_size": 64,
        "bag_batch_size": 16,
        "learning_rate": 1e-3,
        "holdout_fraction": 0.4,
        "num_classes": max(names) + 1,
    }
    globals().update({k: v for k, v in small.items() if k not in given})

# %% [markdown]
# `Logistic` is no member of the paper's: a logistic regression on the mean of
# the frames goes through the same stages, so that there is something plain to
# compare the members with.

# %%
members = presets.parse_members(members)
members += [presets.REFERENCE] * (presets.REFERENCE not in members)
holdout = Holdout(holdout_fraction)
if devices == "all":
    runtime.use_all_devices()
policy = training.precision() if precision == "auto" else precision
keras.config.set_dtype_policy(policy)
print(f"{', '.join(members)} in {policy} on {keras.backend.backend()}")

# %% [markdown]
# ## What is held out
#
# Videos are held out by a hash of their id.  One half of the hold-out picks
# checkpoints, the other the weights of the ensemble; the paper has one set for
# both.  The rated segments, five frames each, are copied into a *pack*, plain
# arrays that are read at the speed of the disk.

# %%
train = data.list_shards(data_dir, "train")
validate = data.list_shards(data_dir, "validate")
for half in ("checkpoint", "ensemble"):
    ratings = data.ratings(validate, spec, class_ids, getattr(holdout, half))
    yes = ratings["score"].mean()
    print(f"{half} half: {len(ratings):,} ratings, {yes:.1%} say yes")

packed = output_dir / "segments"
pack.pack_segments(validate, packed, spec, class_ids, presets.CONTEXT)
rated = {  # without and with the frames around a segment
    context: pack.Pack(
        packed, class_ids, holdout.checkpoint, context=context
    ).rated()
    for context in (0, presets.CONTEXT)
}
floor = metrics.floor_of_targets(rated[0].targets)
print(f"a random order of the checkpoint half: MAP {floor:.4f}")

# %% [markdown]
# ## Snippets
#
# A BERT member and GatedNetVLAD see five frames in a row, from anywhere in the
# video; MixNeXtVLAD sees 60 or 300.  Which frames is drawn anew in every epoch.
# They stay bytes until they are on the device.
#
# The paper takes a video's labels for those of the snippet, but most of them
# hold in a small part of the video.  A member of ours, whose name begins with
# `Bag` or `Context`, sees a *bag* instead: eight windows spread over the video.
# It scores each window, and the loss compares the labels with a weighted mean
# of these probabilities, in which each is its own weight (a *linear softmax*):
# some window must show what the label says, not every one.
#
# Windows of ContextGatedNetVLAD have two more frames on each side.  NetVLAD
# knows no order, so it describes the whole window and, apart from it, the five
# frames of the segment.
#
# On the sample, for the seeds 3, 4 and 5 (*simulated*), bags add +.066, +.087
# and +.064 of MAP on the planted truth to GatedNetVLAD, and -.001, +.005 and
# +.004 to BERTMean.  On the seeds 6, 7 and 8 the context adds +.023, -.005 and
# +.008, and the mean of logits with the member without it gains +.004, +.013
# and +.012 over the better of the two.
#
# Shards of whole videos are read slowly.  Where `pack_dir` names a folder they
# are read once, into four snippets a video (90 GB for all of YouTube-8M), and a
# bag each where there are members that want one (180 GB).  Other windows than
# of five frames are always read from the shards.

# %%
shards = train + validate
pack_dir = os.path.expandvars(os.path.expanduser(pack_dir))


def snippets_for(name):
    """The pre-training examples of a member."""
    options = presets.sampling(name, scale, spec)
    windows = options.get("num_windows", 0)  # of a bag
    common = {"part": holdout.training, "seed": seed}
    common["batch_size"] = bag_batch_size if windows else batch_size
    if not pack_dir or options["num_frames"] != spec.segment_frames:
        examples = data.Bags if windows else data.Snippets
        return examples(shards, spec, num_classes, **options, **common)
    folder = os.path.join(pack_dir, "bags" if windows else "snippets")
    rows = {"snippets": 1 if windows else 4, "num_windows": windows}
    pack.pack_snippets(shards, folder, spec, num_classes, **rows, seed=seed)
    return pack.Pack(folder, range(num_classes), **common)


inputs, targets = next(iter(snippets_for(members[0]).epoch(0, steps=1)))
for key, value in {**inputs, "targets": targets}.items():
    print(f"{key:<8} {value.dtype.name:<6} {tuple(value.shape)}")
print(f"labels a video: {(targets.numpy() == 1).sum(axis=1).mean():.1f}")

# %% [markdown]
# ## Train
#
# Adam with each tensor's gradient clipped to a norm of 1; at the paper's size
# 200,000 steps of 128 examples, the learning rate 1e-4 times 0.9 every 2 M
# examples.  The loss is binary cross-entropy over all video classes;
# MixNeXtVLAD adds the distillation of eq. 17-19, for which its training model
# gives the logits of every branch.  A batch holds fewer bags than snippets; the
# learning rate follows the square root of the batch size, as usual for Adam.
#
# Every epoch ends with the score of the hold-out and a backup.  When the
# session ends, run the notebook again, in the same folder or with its old
# output attached: it goes on where it was.  With several GPUs, each first
# trains members of its own; the loop then finds them finished.


# %%
def compile_member(name):
    """A member, and the model that is trained in its place."""
    preset = presets.member(name)
    model = presets.build(name, num_classes, spec=spec, scale=scale, seed=seed)
    trainee, examples = models.training_model(model), batch_size
    rate = learning_rate * preset.learning_rate_factor
    if windows := preset.num_windows:
        trainee = models.multiple_instance(model, windows, preset.pooling)
        examples = bag_batch_size
        rate *= (examples / batch_size) ** 0.5
    schedule = training.staircase(rate, examples)
    trainee.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        loss=losses.loss_for(model),
    )
    return model, trainee


# %%
limit = training.TimeLimit(hours)
runtime.spread("02_pretrain", members, globals(), output_dir)

# %%
for name in members:
    if limit.reached:
        break
    print(f"\n{name}")
    folder = output_dir / name / "pretrain"
    model, trainee = compile_member(name)
    about = {
        "member": name,
        "scale": scale,
        "seed": seed,
        "class_ids": models.class_ids(model).tolist(),
        "spec": asdict(spec),
        "holdout": asdict(holdout),
        "data": [len(shards), *map(os.path.basename, shards[:1])],
    }
    backup = training.Backup(
        folder,
        about,
        scratch=runtime.scratch(f"{name}/pretrain"),
        attached=runtime.find_attached(f"{name}/pretrain"),
    )
    trainee.fit(
        training.epochs(
            snippets_for(name).epoch, backup.epoch, epochs, steps_per_epoch
        ),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        initial_epoch=backup.epoch,
        shuffle=False,  # the batches are shuffled already
        callbacks=[
            training.SegmentMAP(model, rated[models.context(model)], class_ids),
            keras.callbacks.CSVLogger(folder / "history.csv", append=True),
            keras.callbacks.TerminateOnNaN(),
            limit,
            backup,
        ],
    )
    backup.finish(model)

# %% [markdown]
# ## Did it learn to find segments from labels of videos?
#
# The right panel is the measure of the competition on rated segments that no
# model was trained on; the dashed line is a random order.  The left panel shows
# whether a member still learns; its height says little, since MixNeXtVLAD sums
# the losses of its branches and of the distillation.

# %%
folders = {name: output_dir / name / "pretrain" for name in members}
histories = {
    name: training.history(folder)
    for name, folder in folders.items()
    if (folder / "history.csv").exists()
}
figure = plots.learning_curves(histories, floor)
plots.show(figure, output_dir, "02_learning_curves")
last = {name: table.iloc[-1] for name, table in histories.items()}
print(pd.DataFrame(last).T[["epoch", "loss", "val_map"]].round(4))

# %% [markdown]
# A curve on the right that turns down while its loss still falls has begun to
# learn the training videos by heart.
#
# **Learned**: labels of videos alone place segments far better than chance.
# **Next**: `03_finetune` continues from these weights on what people rated.
