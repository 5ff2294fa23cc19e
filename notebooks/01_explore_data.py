# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · Explore the data
#
# These five notebooks follow one paper, Qizhan Shao and Tianqi Liu,
# [*BERT for Large-scale Video Segment Classification with Test-time
# Augmentation*](https://arxiv.org/abs/1912.01127), 2019: ninth of 283 teams in
# the third YouTube-8M challenge.  Sections, tables and equations that they name
# are those of this paper.
#
# A video is a strip of frames, one a second, each already turned into 1,024
# visual and 128 audio features of one byte.  Its *labels* say what the whole
# video is about.  For a few segments of five frames a person was asked about
# one label: *is it here?*  The task is to answer that question for every
# segment of videos nobody rated.
#
# **In**: TFRecord shards `train*` and `validate*`; with none, a sample is
# simulated.  **Out**: the figures below, also under `figures/`.
# **Time**: under a minute on the sample; on real shards, of which the first 20
# of a split are read, a few minutes, on a T4 or without one.
# **Score to expect**: none yet, but the score of a random order to beat.

# %% tags=["parameters"]
data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # of everything drawn at random, the simulated sample included
frame_spec = None  # rgb,audio,max_frames,segment_frames of other features
num_classes = None  # size of the vocabulary of the video labels

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
import numpy as np
import pandas as pd

from kit import data, inference, plots, runtime
from kit.layers.frames import OFFSET, SCALE

settings = runtime.settings(globals(), needs=("train", "validate"))
first_shards = 20  # enough to see the shape of things

# %% [markdown]
# ## What is there?
#
# `train` carries video labels; `validate` labels and, in partition 3, ratings;
# `test` neither.

# %%
train = data.list_shards(settings.data_dir, "train")
validate = data.list_shards(settings.data_dir, "validate")
print(f"{len(train)} train shards, the first {train[0]}")
print(f"{len(validate)} validate shards, the first {validate[0]}")
print(f"{settings.num_classes} video classes at most")
print(f"{len(settings.segment_classes)} segment classes")

# %% [markdown]
# ## How long are the videos, and what are they about?
#
# Frames stay bytes until they are inside the model: a batch of 128 videos of
# 300 frames is 44 MB so, and 177 MB as floats.

# %%
num_frames, label_counts = [], 0
videos = data.videos(
    train[:first_shards], num_classes=settings.num_classes, spec=settings.spec
)
for inputs, labels in videos.as_numpy_iterator():
    num_frames.extend(inputs["mask"].sum(axis=1))
    label_counts = label_counts + labels.sum(axis=0, dtype=int)
print(f"{label_counts.sum() / len(num_frames):.2f} labels a video")

# %%
figure = plots.frames_per_video(num_frames)
plots.show(figure, settings.output_dir, "01_frames_per_video")
figure = plots.labels_per_class(label_counts, settings.segment_classes)
plots.show(figure, settings.output_dir, "01_labels_per_class")

# %% [markdown]
# Read the second figure from the left: a few classes are in many videos, most
# in few, and the segment task asks about the blue ones only.

# %% [markdown]
# ## What did people say about the segments?
#
# Someone looked at five frames and at *one* label.  Every other class of that
# segment is unknown, not absent: 1 is yes, 0 is no, and -1 stands for "nobody
# rated it" wherever the kit holds targets.

# %%
ratings = data.ratings(validate[:first_shards], spec=settings.spec)
rated = ratings.groupby(["video_id", "start"]).size()
print(f"{len(ratings):,} ratings of {len(rated):,} segments")
print(f"{ratings['score'].mean():.1%} say yes")
figure = plots.ratings_per_class(ratings, settings.names)
plots.show(figure, settings.output_dir, "01_ratings_per_class")

# %% [markdown]
# The score of the competition, *mean average precision* (MAP), looks at the
# rated segments alone.  Each class' list is cut at $K = 100{,}000$, unrated
# segments are dropped, and what is left is scored by eq. 1:
#
# $$\mathrm{MAP@}K = \frac{1}{C} \sum_{c=1}^{C} \frac{1}{N_c}
# \sum_{k=1}^{K} P(k)\, \mathrm{rel}(k)$$
#
# with $P(k)$ the share of *yes* among the first $k$, $\mathrm{rel}(k) = 1$
# where number $k$ is a *yes*, and $N_c$ all the *yes* of class $c$.  A class
# that is rated *yes* half the time so scores about one half for a random order:
# a local score means little without that of a random order beside it, and every
# notebook prints it.

# %% [markdown]
# ## From bytes to values
#
# A byte $q$ stands for the value
#
# $$x = \frac{4}{255}\, q - 1.9921875,$$
#
# a grid of 256 values around zero.  The layer `FrameFeatures` does this inside
# every model, so that a saved model takes the bytes that lie on disk.

# %%
video_id = ratings["video_id"].value_counts(sort=True).index[0]
raw = inference.find_video(validate[:first_shards], video_id, settings.spec)
values = raw * np.float32(SCALE) + np.float32(OFFSET)
figure = plots.value_ranges(raw, values, settings.spec)
plots.show(figure, settings.output_dir, "01_value_ranges")
print(pd.DataFrame({"byte": raw[0, :5], "value": values[0, :5]}).round(4))

# %% [markdown]
# Below is the byte, above the value it stands for.  Padding must be zero
# *after* this step, in the middle of the figure; a padded byte of 0 would stand
# at its left end, as far from nothing as a feature can be.
#
# ## What does a video look like?
#
# Columns are seconds, rows are features, and the bars below are the segments a
# person was asked about.

# %%
figure = plots.video_strip(
    values,
    settings.spec,
    ratings[ratings["video_id"] == video_id],
    settings.names,
)
plots.show(figure, settings.output_dir, "01_video")

# %% [markdown]
# A concept is a pattern across many features that lasts for some seconds: look
# for stretches in which a row keeps its colour, and whether they agree with the
# bars.  In most frames it is faint, which is why a model is needed.
#
# **Learned**: labels of whole videos are plentiful and vague, ratings of
# segments few and exact, and chance is a strong rival.
# **Next**: `02_pretrain` learns from the plentiful ones.
