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
# **In**: TFRecord shards `train*` and `validate*`; with none, a sample of
# little films is generated.  **Out**: the figures below, also under `figures/`.
# **Time**: two minutes on the sample, most of them to make it; on real shards,
# of which the first 20 of `train` and the ratings of all of `validate` are
# read, a few minutes, on a T4 or without one.
# **Score to expect**: none yet.

# %% tags=["parameters"]
data_dir = "find"  # folder of shards; "find": attached ones, or a sample
output_dir = "outputs"  # where results go
seed = 0  # of the generated sample
holdout_fraction = 300 / 3844  # share of the videos that is never trained on
num_classes = 3862  # size of the vocabulary of the video labels
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
import numpy as np
import pandas as pd

from kit import data, plots, runtime, sample
from kit.spec import OFFSET, SCALE, FrameSpec
from kit.splits import Holdout

given = runtime.flags(globals())  # of a script: its command line
globals().update(given)
output_dir = runtime.workspace(output_dir)
data_dir = runtime.find_data(data_dir, output_dir, seed)
class_ids, names = data.read_classes(data_dir)
spec = FrameSpec(rgb, audio, max_frames, segment_frames)
if sample.is_sample(data_dir):
    print("SIMULATED data: no score here is one of YouTube-8M.")
    small = {"num_classes": max(names) + 1, "holdout_fraction": 0.4}
    globals().update({k: v for k, v in small.items() if k not in given})
holdout = Holdout(holdout_fraction)

# %% [markdown]
# ## A video
#
# Someone looked at five frames of it and at *one* label: is it here?  Below are
# the answers for the video that was asked about in most ways.  YouTube-8M ships
# no pictures and no sound, so only a video of the sample can be shown: scans of
# handwritten digits drift over photographs, and sounds come and go over a hum.
# What is to be recognised there is a digit, a sound, both at once, or an order.

# %%
train = data.list_shards(data_dir, "train")
validate = data.list_shards(data_dir, "validate")
ratings = data.ratings(validate, spec, class_ids)
kinds = ratings.groupby("video_id")[["label", "score"]].nunique()
video_id = kinds.sum(axis=1).idxmax()
about_video = ratings[ratings["video_id"] == video_id]
print(about_video.assign(name=about_video["label"].map(names)))

# %%
film = None
if sample.is_sample(data_dir):
    film = sample.film(data_dir, video_id)
    figure = plots.film(film, about_video, spec, names)
    plots.show(figure, output_dir, "01_film")
    if "ipykernel" in sys.modules:
        from IPython.display import Audio, display

        display(Audio(film[1], rate=film[2]))

# %% [markdown]
# On top is one frame of every few, beneath is what is heard, and the bars show
# what people said: blue where the concept is there, red where it is not.  Some
# of what passes is clutter that lasts for a frame: other digits, letters, other
# sounds.  A model sees none of this, only numbers that were computed from it,
# which end this notebook.
#
# ## What is there?
#
# `train` carries video labels; `validate` labels and, in partition 3, ratings;
# `test` neither.

# %%
print(f"{len(train)} train shards, the first {train[0]}")
print(f"{len(validate)} validate shards, the first {validate[0]}")
print(f"{num_classes} video classes at most, {len(class_ids)} segment classes")

# %% [markdown]
# ## Is anything wrong with it?
#
# Every record of the first 20 `train` shards and of `validate` is examined:
# files cut short, frames of another size, labels beyond the vocabulary, ratings
# of unknown classes, videos that come twice.

# %%
problems = data.check(train[:20] + validate, spec, num_classes, class_ids)
if len(problems):
    print(problems.to_string(index=False))
    raise ValueError("Mend or remove what the table lists, before training.")
print("No problem was found.")

# %% [markdown]
# ## How long are the videos, and what are they about?
#
# Frames stay bytes until they are inside the model: a batch of 128 videos of
# 300 frames is 44 MB as bytes, and 177 MB as floats.

# %%
num_frames, label_counts = [], np.zeros(num_classes, int)
for inputs, labels in data.videos(
    train[:20], spec, num_classes=num_classes
).as_numpy_iterator():
    num_frames.extend(inputs["mask"].sum(axis=1))
    label_counts += labels.sum(axis=0, dtype=int)
print(f"{label_counts.sum() / len(num_frames):.2f} labels a video")

# %%
axes = pd.Series(num_frames).plot.hist(bins=40)
axes.set(xlabel="frames in a video (one a second)", ylabel="videos")
plots.show(axes.figure, output_dir, "01_frames_per_video")
figure = plots.labels_per_class(label_counts, class_ids)
plots.show(figure, output_dir, "01_labels_per_class")

# %% [markdown]
# Read the second figure from the left: a few classes are in many videos, most
# in few, and the segment task asks about the blue ones only.

# %% [markdown]
# ## What did people say about the segments?
#
# Each segment was rated for about one class.  Every other class of that segment
# is unknown, not absent: 1 is yes, 0 is no, and a number below 0 stands for
# "nobody rated it" wherever the kit holds targets.

# %%
segments = ratings[["video_id", "start"]].drop_duplicates()
print(f"{len(ratings):,} ratings of {len(segments):,} segments")
print(f"{ratings['score'].mean():.1%} say yes")
figure = plots.ratings_per_class(ratings, names)
plots.show(figure, output_dir, "01_ratings_per_class")

# %% [markdown]
# ## A label of a video is a label of a bag
#
# The annotators were asked about labels of the video, and in many segments said
# no.  A label says that its concept is *somewhere*: the video is a bag of
# segments, of which one or more show it.  To learn from labels of bags is known
# as *multiple-instance learning*; section 1 of the paper names it, but goes on
# to train on random five frames as if every label held in them.  Notebook 2
# does both.

# %%
asked = ratings.groupby(["video_id", "label"])["score"].agg(["size", "mean"])
asked = asked[asked["size"] > 1]
mixed = asked["mean"].between(0, 1, inclusive="neither").mean()
print(f"of {len(asked):,} labels of a video asked about more than once,")
print(f"{mixed:.1%} hold in one segment and not in another")
if sample.is_sample(data_dir):
    truth = sample.load_answers(data_dir, "truth")
    share = truth.groupby(["video_id", "label"])["score"].mean()
    axes = share[share > 0].plot.hist(bins=20, range=(0, 1))
    axes.set(xlabel="share of the segments that show it (planted truth)")
    axes.set(ylabel="concepts of a video")
    plots.show(axes.figure, output_dir, "01_share_of_segments")

# %% [markdown]
# Videos are held out by a hash of their id: the same video sits in different
# shards of different partitions, so shard names cannot keep it out.  One half
# of the hold-out picks checkpoints, the other the weights of the ensemble; the
# paper has one set for both.

# %%
for name in ("training", "checkpoint", "ensemble"):
    own = data.ratings(validate, spec, class_ids, getattr(holdout, name))
    videos = own["video_id"].nunique()
    print(f"{name:<11}{len(own):>8,} ratings of {videos:,} videos")

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
# a local score means little without that of a random order beside it, which the
# other notebooks print.

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
raw = data.find_video(validate, video_id, spec)
values = raw * np.float32(SCALE) + np.float32(OFFSET)
print(pd.DataFrame({"byte": raw[0, :5], "value": values[0, :5]}).round(4))

# %% [markdown]
# Padding must be zero *after* this step, as byte 127 is; a padded byte of 0
# would stand for -1.99, as far from nothing as a feature can be.
#
# ## What does a model see of the video?
#
# It is the video from above.  Columns are seconds, rows are features, and the
# bars below are the segments a person was asked about.

# %%
figure = plots.video_strip(values, spec, about_video, names, film)
plots.show(figure, output_dir, "01_video")

# %% [markdown]
# A concept is a pattern across many features that lasts for some seconds: look
# for stretches in which a row keeps its colour, and whether they agree with the
# bars.  In most frames it is faint, which is why a model is needed.
#
# **Learned**: labels of whole videos are plentiful and vague, ratings of
# segments few and exact, and chance is a strong rival.
# **Next**: `02_pretrain` learns from the plentiful ones.
