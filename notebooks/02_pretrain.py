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
pack_dir = None  # a pack of snippets, to train on in place of shards
frame_spec = None  # rgb,audio,max_frames,segment_frames of other features
num_classes = None  # size of the vocabulary of the video labels
steps = None  # optimisation steps of a member
batch_size = None  # examples a step
learning_rate = None  # at the start; times 0.9 every 2 M examples
evaluate_every = None  # steps between two looks at the hold-out
holdout_fraction = None  # share of the validate videos never trained on
warmup_steps = None  # steps over which the learning rate rises from zero
averaging_share = None  # of the weights before, in those that are kept
precision = None  # a dtype policy of Keras; None: what suits the device
devices = None  # "all" spreads a member over all; None: a member for each GPU
workers = None  # members at once; None: one for each GPU
time_limit = None  # hours until it stops, to go on later; None: the host's
restart = None  # yes: begin anew; take it out again to go on later

# %%
import os
import sys
from glob import glob
from importlib.util import find_spec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow talks a lot
# The kit: installed, beside this notebook, attached, in a clone, or on Drive.
sys.path += [".", "..", f"{sys.path[0]}/..", *glob("/content/*/")]
attached = glob("/kaggle/input/**/kit/spec.py", recursive=True)
sys.path += [path.removesuffix("kit/spec.py") for path in attached]
if "COLAB_RELEASE_TAG" in os.environ and not find_spec("kit"):
    from google.colab import drive

    drive.mount("/content/drive")
    sys.path += glob("/content/drive/MyDrive/*/")

from kit import runtime

runtime.install_missing()

# %%
from kit import plots, presets, runtime, stages

settings = runtime.settings(globals(), **stages.PLANS["pretrain"])
names = [*settings.members, presets.REFERENCE]
print(runtime.prepare(settings.seed, settings.precision, settings.devices))

# %% [markdown]
# ## What is held out
#
# Videos are held out by a hash of their id: the same video sits in different
# shards of different partitions, so shard names cannot keep it out.  One half
# of the hold-out picks checkpoints, the other the weights of the ensemble; the
# paper has one set for both.

# %%
evaluate = stages.evaluation(settings)
floor = evaluate.floor()
print(f"a random order of them: MAP {floor:.4f}")

# %% [markdown]
# ## Snippets
#
# A BERT member and GatedNetVLAD see five frames in a row, from anywhere in the
# video; MixNeXtVLAD sees 60 or 300.  Which frames is drawn anew in every epoch.
# They stay bytes until they are on the device.

# %%
batches = stages.video_batches(settings, names[0])
inputs, targets = next(iter(batches(0)))
for key, value in {**inputs, "targets": targets}.items():
    print(f"{key:<8} {value.dtype.name:<6} {tuple(value.shape)}")
print(f"labels a video: {(targets.numpy() == 1).sum(axis=1).mean():.1f}")

# %% [markdown]
# ## Train
#
# Adam with each tensor's gradient clipped to a norm of 1; at the paper's size
# 200,000 steps of 128 examples, the learning rate 1e-4 times 0.9 every 2 M
# examples.  The loss is binary cross-entropy over all video classes;
# MixNeXtVLAD adds the distillation of eq. 17-19.
#
# `Logistic` is no member of the paper's: a logistic regression on the mean of
# the frames goes through the same stages, so that there is something plain to
# compare the members with.
#
# Every look at the hold-out ends with a checkpoint.  When the session ends, run
# the notebook again, in the same folder or with its old output attached: it
# goes on where it was.  With several GPUs each trains a member of its own.

# %%
histories = stages.train("pretrain", settings, names, evaluate)

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

# %%
print(stages.table(settings, ["pretrain"], names).to_string())

# %% [markdown]
# A curve on the right that turns down while its loss still falls has begun to
# learn the training videos by heart.
#
# **Learned**: labels of videos alone place segments far better than chance.
# **Next**: `03_finetune` continues from these weights on what people rated.
