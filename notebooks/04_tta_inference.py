# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Rank the test segments, looking a little to either side
#
# Five frames are little to judge by.  Section 5 of the paper shifts each
# segment's window by a frame or two and averages the predictions: more of the
# video is seen, and the model need not change.
#
# **In**: `<member>/model.keras` of notebook 3, `validate` and `test` shards.
# **Out**: `<member>/holdout.npz`, `<member>/test.npz`,
# `<member>/submission.csv`, `answers/` and `scores.csv`.
# **Time**: a minute on the sample; limited by the model on a T4.
# **Score to expect**: the paper gained 0.007 to 0.013 (its table 2).

# %% tags=["parameters"]
data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # names the simulated sample; nothing else is drawn here
members = None  # names in kit.presets.MEMBERS, comma-separated
holdout_fraction = None  # share of the validate videos never trained on
averaging = "mean"  # of the shifts: mean, geometric or rank
leave_out_edges = False  # leave out the first 6 and last 2 segments of a video
video_level = False  # multiply by the video's prediction, its segments' mean
top_classes = None  # rank a video's segments only for its so many best classes
part = "1/1"  # i/n ranks every n-th test shard; the last part merges them

# %%
import sys
from glob import glob

# The kit is installed, or lies beside the notebooks or in attached data.
sys.path += [".", "..", f"{sys.path[0]}/.."]
for depth in range(1, 6):
    sys.path += glob(f"/kaggle/input/{'*/' * depth}")

# %%
import keras

from kit import (
    data,
    inference,
    models,
    plots,
    presets,
    results,
    runtime,
    submission,
)

settings = runtime.settings(globals(), needs=("validate", "test"))
names = [*settings.members, presets.REFERENCE]
files = {name: runtime.finetuned(settings, name) for name in names}
stages = {name: runtime.pretrained(settings, name) for name in names}
print(runtime.prepare(settings.seed))

# %% [markdown]
# ## What a shift sees
#
# With shifts from -1 to +1 a segment is predicted three times.  A frame that
# the video does not have is masked; nothing wraps around.

# %%
start, length = 5, settings.spec.segment_frames
for shift in inference.shift_range(-1, 1, length):
    seen = range(start + shift, start + shift + length)
    print(f"shift {shift:+d}: frames {list(seen)}")

# %% [markdown]
# ## Rank
#
# Hold-out rankings cover every segment of the hold-out videos, as on the test
# split.  One pass gives the ranking with and without shifts.

# %%
test = data.list_shards(settings.data_dir, "test")
validate = data.list_shards(settings.data_dir, "validate")
splits = {
    "holdout": dict(shards=validate, holdout=settings.holdout, part="holdout"),
    "test": dict(shards=test),
}
answers = results.known_answers(settings.data_dir, validate, settings.holdout)
results.save_answers(settings.output_dir / "answers", answers)
scored = {results.MEASURES[measure] for measure in answers}

# %%
found = {"holdout": {}, "test": {}}
for name in names:
    model = keras.saving.load_model(files[name])
    options = runtime.scoring(settings, name, model)
    found["holdout"][name] = inference.rank_segments(
        model, **splits["holdout"], **options
    )
    found["test"][name] = inference.rank_part(
        model,
        **splits["test"],
        part=settings.part,
        folder=settings.output_dir / name,
        scoring={**options, "plain": "test" in scored},
        progress=inference.print_progress(),
    )
inference.stop_unless_merged(found["test"].values())

# %%
rankings = {}
for split in splits:
    for name, ranked in found[split].items():
        rankings[name, split, "fine-tuned"] = ranked.get("plain")
        rankings[name, split, "+ TTA"] = ranked["tta"]
        ranked["tta"].save(settings.output_dir / name / f"{split}.npz")

# %% [markdown]
# ## A submission
#
# One line a class, best first, at most 100,000 segments.

# %%
for name in names:
    path = settings.output_dir / name / "submission.csv"
    submission.write_csv(rankings[name, "test", "+ TTA"], path)
    submission.validate(path, class_ids=settings.segment_classes)
    print(f"{path} is a valid submission")

# %% [markdown]
# ## What was gained, step by step
#
# The members as pre-training left them are ranked where answers are known, and
# on the sample so is an oracle that knows the planted signatures.  Beside every
# score stands that of a random order of the same segments.

# %%
for name in names:
    model = models.restrict_classes(
        presets.load(stages[name]), settings.segment_classes
    )
    for split in sorted(scored):
        ranked = inference.rank_segments(model, **splits[split])
        rankings[name, split, "pre-trained"] = ranked["plain"]
rankings |= results.oracle_rankings(settings.data_dir, splits)

# %%
scores = results.score_table(rankings, answers, settings.segment_classes)
scores.to_csv(settings.output_dir / "scores.csv")
print(scores.round(4).to_string())

# %% [markdown]
# Read a row from left to right: chance, what video labels taught, what ratings
# added, what the shifts added.  The oracle is not trained; its score stands
# under "fine-tuned".  The hold-out is scored on the half that picked no
# checkpoint.  On the sample the test split is scored twice: on its ratings, as
# Kaggle does, and on the whole planted truth, where chance is much lower.

# %%
hold_out = scores.xs("hold-out", level="measure").drop(
    "Oracle", errors="ignore"
)
figure = plots.gains(
    hold_out, "fine-tuned", "+ TTA", "MAP, ensemble half of the hold-out"
)
plots.show(figure, settings.output_dir, "04_tta_gain")

# %% [markdown]
# A diamond to the right of its circle gained from the shifts.  The hold-out is
# small: a gain or a loss of a hundredth may be luck.

# %% [markdown]
# ## One video
#
# The curve is what the model says about each segment; the shading is what was
# rated or, on the sample, planted.

# %%
measure, truth = list(answers.items())[-1]
video_id, classes = results.richest_video(truth)
shards = splits[results.MEASURES[measure]]["shards"]
frames = inference.find_video(shards, video_id)
table = inference.localize(
    keras.saving.load_model(files[names[0]]), frames, shifts=(-1, 1)
)
figure = plots.timeline(
    table[table["class_id"].isin(classes)],
    truth[truth["video_id"] == video_id],
    settings.spec,
    settings.names,
)
plots.show(figure, settings.output_dir, "04_timeline")

# %% [markdown]
# **Learned**: looking a frame or two to either side is nearly free, and what it
# gains is measured, not assumed.
# **Next**: `05_ensemble` fuses the members.
