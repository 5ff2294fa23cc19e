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
# The released code took them for *no*, which teaches the model that nearly
# everything is absent.
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

# %%
import sys
from glob import glob

# The kit is installed, or lies beside the notebooks or in attached data.
sys.path += [".", "..", f"{sys.path[0]}/.."]
for depth in range(1, 6):
    sys.path += glob(f"/kaggle/input/{'*/' * depth}")

# %%
import pandas as pd

from kit import data, models, plots, presets, runtime, training

settings = runtime.settings(
    globals(),
    needs=("validate",),
    paper=dict(
        steps=20_000, learning_rate=5e-5, evaluate_every=200, patience=25
    ),
    sample=dict(steps=300, learning_rate=3e-4, evaluate_every=25, patience=8),
)
names = [*settings.members, presets.REFERENCE]
stages = {name: runtime.pretrained(settings, name) for name in names}
print(runtime.prepare(settings.seed))

# %% [markdown]
# ## The rated segments
#
# A row of targets holds 1, 0 or -1 for each segment class.  Nearly all are -1.

# %%
validate = data.list_shards(settings.data_dir, "validate")
segments = dict(class_ids=settings.segment_classes, holdout=settings.holdout)
first = data.rated_segments(validate, **segments, part="training")
_, targets = next(iter(first))
meaning = {-1: "unrated", 0: "no", 1: "yes"}
print(pd.Series(targets.numpy().ravel()).map(meaning).value_counts())

# %%
evaluate = training.SegmentEvaluation(
    data.rated_segments(validate, **segments, part="checkpoint", with_ids=True),
    data.ratings(validate, holdout=settings.holdout, part="checkpoint"),
    settings.segment_classes,
)
floor = evaluate.floor()
print(f"{len(evaluate.starts):,} rated segments; random order: {floor:.4f}")

# %% [markdown]
# ## Train
#
# The head keeps the columns of the segment classes alone.  Every few steps the
# hold-out is ranked, and the weights with the best MAP are kept.


# %%
def rated_batches():
    return data.rated_segments(
        validate,
        **segments,
        part="training",
        batch_size=settings.batch_size,
        shuffle=True,
        seed=settings.seed,
        repeat=True,
    )


# %%
histories, levels = {}, {}
for name in names:
    model = presets.load(stages[name])
    model = models.restrict_classes(model, settings.segment_classes)
    levels[name] = evaluate(model)
    print(f"\n{name}: {levels[name]:.4f} before")
    scale = presets.stage_config(stages[name])["scale"]
    histories[name] = training.fit(
        model,
        rated_batches(),
        folder=settings.output_dir / name / "finetune",
        evaluate=evaluate,
        patience=settings.patience,
        **runtime.stage(settings, name, model, scale),
    )
    training.save_model(model, settings.output_dir / name / "model.keras")

# %% [markdown]
# ## What did the ratings add?

# %%
figure = plots.learning_curves(histories, floor, levels)
plots.show(figure, settings.output_dir, "03_learning_curves")

# %% [markdown]
# Where a curve crosses its dotted line, the ratings have added to what
# pre-training knew.  The best point of each curve is the checkpoint that stays.

# %%
best = {name: history["map"].max() for name, history in histories.items()}
table = pd.DataFrame({"pre-trained": levels, "fine-tuned": best})
figure = plots.gains(
    table, "pre-trained", "fine-tuned", "MAP, checkpoint half of the hold-out"
)
plots.show(figure, settings.output_dir, "03_before_after")
print(table.round(4))

# %% [markdown]
# These scores picked the checkpoints, so they flatter: notebook 4 scores the
# members on the half of the hold-out that picked nothing.
#
# **Learned**: few exact answers sharpen what many vague ones taught.
# **Next**: `04_tta_inference` ranks every segment of every test video.
