# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3 · Fine-tune on rated segments
#
# Now the few exact answers.  Each rated segment says yes or no for about one
# class; the other classes of that segment are unknown and stay out of the loss.
# The code released with [the paper](https://arxiv.org/abs/1912.01127) (Shao and
# Liu, 2019) took them for *no*, which teaches the model that nearly everything
# is absent.
#
# **In**: `validate` shards with ratings, `<member>/pretrain/` of notebook 2.
# **Out**: `<member>/finetune/` and `<member>/model.keras`, which takes raw
# bytes and returns probabilities of the segment classes.
# **Time**: two minutes on the sample; under an hour a member on a T4.
# **Score to expect**: the paper gained 0.03 to 0.04 of MAP (its table 1).

# %% tags=["parameters"]
data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # of everything drawn at random, the simulated sample included
members = None  # names in kit.presets.MEMBERS, comma-separated
steps = None  # optimisation steps of a member, at most
batch_size = None  # examples a step
learning_rate = None  # at the start; times 0.9 every 2 M examples
evaluate_every = None  # steps between two looks at the hold-out
patience = None  # looks without a better score before training stops
holdout_fraction = None  # share of the validate videos never trained on
from_scratch = None  # yes: without notebook 2, from fresh weights
scale = None  # "paper" or "tiny"; from scratch only
frame_spec = None  # rgb,audio,max_frames,segment_frames of other features
num_classes = None  # size of the vocabulary of the video labels
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
import pandas as pd

from kit import plots, presets, runtime, stages

settings = runtime.settings(globals(), **stages.PLANS["finetune"])
names = [*settings.members, presets.REFERENCE]
print(runtime.prepare(settings.seed, settings.precision, settings.devices))

# %% [markdown]
# ## The rated segments
#
# A row of targets holds 1, 0 or -1 for each segment class.  Nearly all are -1.

# %%
_, targets = next(iter(stages.segment_batches(settings)(0)))
meaning = {-1: "unrated", 0: "no", 1: "yes"}
print(pd.Series(targets.numpy().ravel()).map(meaning).value_counts())

# %%
evaluate = stages.evaluation(settings)
floor = evaluate.floor()
print(f"a random order of them: MAP {floor:.4f}")

# %% [markdown]
# ## Train
#
# The head keeps the columns of the segment classes alone.  At the paper's size
# the learning rate is 5e-5; every 200 steps the hold-out is ranked and the
# weights with the best MAP are kept.  It ends after 20,000 steps, as the paper
# does, or earlier when 25 looks brought nothing better: `patience` of 100 takes
# them all.

# %%
histories = stages.train("finetune", settings, names, evaluate)

# %% [markdown]
# ## What did the ratings add?

# %%
levels = {
    name: history["start_map"].iloc[0] for name, history in histories.items()
}
figure = plots.learning_curves(histories, floor, levels)
plots.show(figure, settings.output_dir, "03_learning_curves")

# %% [markdown]
# Where a curve crosses its dotted line, the ratings have added to what
# pre-training knew.  The best point of each curve is the checkpoint that stays.

# %%
best = {name: history["map"].max() for name, history in histories.items()}
table = pd.DataFrame({"before": levels, "fine-tuned": best})
figure = plots.gains(
    table, "before", "fine-tuned", "MAP, checkpoint half of the hold-out"
)
plots.show(figure, settings.output_dir, "03_before_after")
print(table.round(4))
print(stages.table(settings, ["finetune"], names).to_string())

# %% [markdown]
# These scores picked the checkpoints, so they flatter: notebook 4 scores the
# members on the half of the hold-out that picked nothing.
#
# **Learned**: few exact answers sharpen what many vague ones taught.
# **Next**: `04_tta_inference` ranks every segment of every test video.
