# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5 · Fuse the members
#
# Members differ in what they get wrong, so a list made of several is often
# better than the best of them.  Their scores are not comparable, but their
# *ranks* are: eq. 20 gives a segment the sum over members of weight / rank.
# The weights are found by Bayesian optimisation on the hold-out.
#
# **In**: `<member>/holdout.npz`, `<member>/test.npz`, `scores.csv` and
# `answers/` of notebook 4.
# **Out**: `ensemble/` with `weights.csv`, `test.npz`, `submission.csv` and
# `scores.csv`.
# **Time**: about a minute on the sample, minutes at full size; no GPU needed.
# **Score to expect**: the paper went from 0.7725, its best member, to 0.7871.

# %% tags=["parameters"]
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # of the weight search
members = None  # names in kit.presets.MEMBERS, comma-separated; None: all
evaluations = 100  # the most that a search of the weights may take

# %%
import sys
from glob import glob

# The kit is installed, or lies beside the notebooks or in attached data.
sys.path += [".", "..", f"{sys.path[0]}/.."]
for depth in range(1, 6):
    sys.path += glob(f"/kaggle/input/{'*/' * depth}")

# %%
from kit import ensemble, plots, results, runtime, submission
from kit.ranking import Ranking

settings = runtime.settings(globals())
left = {
    name: runtime.find_output(settings.output_dir, name, "04_tta_inference")
    for name in ("scores.csv", "answers")
}
scores = results.load_scores(left["scores.csv"])
answers = results.load_answers(left["answers"])
names = settings.members or results.members_of(scores)
print(f"members: {', '.join(names)}")


# %%
def load(split):
    files = [
        runtime.find_output(
            settings.output_dir, f"{name}/{split}.npz", "04_tta_inference"
        )
        for name in names
    ]
    return [Ranking.load(file) for file in files]


rankings = {split: load(split) for split in ("holdout", "test")}

# %% [markdown]
# ## The search
#
# Checkpoints were picked on one half of the hold-out, so weights are picked on
# the other.  Weights that were picked on some videos flatter themselves there,
# so each search is also scored on videos it did not see (*cross-fitted*).  That
# column is the one to believe: where equal weights win it, the hold-out is too
# small to choose weights on.  What goes into the submission is the paper's
# choice, Bayesian optimisation.

# %%
folder = settings.output_dir / "ensemble"
folder.mkdir(exist_ok=True)
ratings = answers["hold-out"]
half = ratings["video_id"].unique()
search = ensemble.search_weights(
    [ranking.restrict(half) for ranking in rankings["holdout"]],
    ratings,
    names=names,
    max_evaluations=settings.evaluations,
    seed=settings.seed,
    checkpoint=folder / "search.json",
    progress=ensemble.print_progress,
)
(folder / "search.json").unlink()  # it served a search that is now over
print(search.comparison.round(4).to_string(index=False))

# %% [markdown]
# ## Where did the optimiser look?

# %%
figure = plots.convergence(search.history)
plots.show(figure, settings.output_dir, "05_convergence")

# %% [markdown]
# ## Who carries the ensemble, and who agrees with whom?
#
# A member that agrees with all others adds little, however good it is.

# %%
figure = plots.member_weights(search.members)
plots.show(figure, settings.output_dir, "05_weights")
figure = plots.agreement(search.agreement)
plots.show(figure, settings.output_dir, "05_agreement")
search.members.to_csv(folder / "weights.csv", index=False)

# %% [markdown]
# On the right, red means that the others do better without that member.
#
# ## Which classes gain?

# %%
figure = plots.class_gains(search.classes)
plots.show(figure, settings.output_dir, "05_class_gains")

# %% [markdown]
# ## The final submission

# %%
fused = {
    split: ensemble.fuse(lists, search.weights)
    for split, lists in rankings.items()
}
fused["test"].save(folder / "test.npz")
path = folder / "submission.csv"
submission.write_csv(fused["test"], path)
checked = submission.validate(path, class_ids=fused["test"].class_ids)
print(f"{path}: {checked['classes']} classes, {checked['segments']:,} segments")

# %% [markdown]
# ## The whole story in one table

# %%
table = results.final_table(scores, fused, answers, search)
table.to_csv(folder / "scores.csv")
print(results.as_text(table))
print(f"\nsubmission: {path}\nfigures:    {settings.output_dir / 'figures'}")

# %% [markdown]
# **Learned**: what fusing gains here, with the flattery taken out.
# **Next**: more members, more seeds, other shifts; `README.md` says how to add
# one.
