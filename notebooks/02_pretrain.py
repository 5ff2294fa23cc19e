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
# of the paper trains on random snippets as if the video's labels were theirs,
# and reaches most of its final score before any segment was rated.
#
# **In**: `train` shards, and the `validate` shards but for the hold-out.
# **Out**: `<member>/pretrain/` with weights, history and settings.
# **Time**: two minutes on the sample; the paper's 200,000 steps take hours a
# member on a T4.  **Score to expect**: well above a random order, below what
# notebook 3 reaches.

# %% tags=["parameters"]
data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # of everything drawn at random, the simulated sample included
members = None  # names in kit.presets.MEMBERS, comma-separated
scale = None  # "paper" or "tiny"
steps = None  # optimisation steps of a member
batch_size = None  # examples a step
learning_rate = None  # at the start; times 0.9 every 2 M examples
evaluate_every = None  # steps between two looks at the hold-out
holdout_fraction = None  # share of the validate videos never trained on

# %%
import sys
from glob import glob

# The kit is installed, or lies beside the notebooks or in attached data.
sys.path += [".", "..", f"{sys.path[0]}/.."]
for depth in range(1, 6):
    sys.path += glob(f"/kaggle/input/{'*/' * depth}")

# %%
from kit import data, plots, presets, runtime, training

settings = runtime.settings(
    globals(),
    needs=("train", "validate"),
    paper=dict(steps=200_000, learning_rate=1e-4, evaluate_every=10_000),
    sample=dict(steps=240, learning_rate=1e-3, evaluate_every=40),
)
print(runtime.prepare(settings.seed))

# %% [markdown]
# ## What is held out
#
# Videos are held out by a hash of their id: the same video sits in different
# shards of different partitions, so shard names cannot keep it out.  One half
# of the hold-out picks checkpoints, the other the weights of the ensemble.

# %%
train = data.list_shards(settings.data_dir, "train")
validate = data.list_shards(settings.data_dir, "validate")
checkpoint_half = dict(holdout=settings.holdout, part="checkpoint")
evaluate = training.SegmentEvaluation(
    data.rated_segments(
        validate,
        class_ids=settings.segment_classes,
        **checkpoint_half,
        with_ids=True,
    ),
    data.ratings(validate, **checkpoint_half),
    settings.segment_classes,
)
floor = evaluate.floor()
print(f"{len(evaluate.starts):,} rated segments; random order: {floor:.4f}")

# %% [markdown]
# ## Snippets
#
# A BERT member and GatedNetVLAD see five frames in a row, from anywhere in the
# video; MixNeXtVLAD sees 60 or 300.  Which frames is drawn anew in every epoch.


# %%
def snippets(name):
    return data.videos(
        train + validate,
        num_classes=settings.num_classes,
        **presets.sampling(name, settings.scale),
        batch_size=settings.batch_size,
        holdout=settings.holdout,
        part="training",
        shuffle=True,
        seed=settings.seed,
        repeat=True,
    )


# %% [markdown]
# ## Train
#
# Adam with each tensor's gradient clipped to a norm of 1, and the learning rate
# times 0.9 every 2 M examples.  The loss is binary cross-entropy over all
# video classes; MixNeXtVLAD adds the distillation of eq. 17-19.

# %%
histories = {}
for name in [*settings.members, presets.REFERENCE]:
    model = presets.build(
        name, settings.num_classes, scale=settings.scale, seed=settings.seed
    )
    print(f"\n{name}: {model.count_params():,} parameters")
    histories[name] = training.fit(
        model,
        snippets(name),
        folder=settings.output_dir / name / "pretrain",
        evaluate=evaluate,
        keep="last",
        **runtime.stage(settings, name, model, settings.scale),
    )

# %% [markdown]
# ## Did it learn to find segments from labels of videos?
#
# The right panel is the measure of the competition on rated segments that no
# model was trained on; the dashed line is a random order.  The left panel shows
# whether a member still learns; its height says little, since MixNeXtVLAD sums
# the losses of its branches and of the distillation.

# %%
figure = plots.learning_curves(histories, floor)
plots.show(figure, settings.output_dir, "02_learning_curves")

# %% [markdown]
# A curve on the right that turns down while its loss still falls has begun to
# learn the training videos by heart.
#
# **Learned**: labels of videos alone place segments far better than chance.
# **Next**: `03_finetune` continues from these weights on what people rated.
