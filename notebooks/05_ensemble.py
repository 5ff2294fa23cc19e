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
# better than the best of them.  Here the lists are fused by rank, with weights
# that Bayesian optimisation finds on the hold-out (section 6 of
# [the paper](https://arxiv.org/abs/1912.01127), Shao and Liu, 2019).
#
# **In**: `<member>/holdout.npz`, `<member>/test.npz`, `scores.csv` and
# `answers/` of notebook 4.
# **Out**: `ensemble/` with `weights.csv`, `test.npz`, `submission.csv` and
# `scores.csv`.
# **Time**: under a minute on the sample, minutes at full size; no GPU is used,
# so a T4 makes no difference.
# **Score to expect**: the paper went from 0.7725, its best member, to 0.7871;
# on the simulated sample about what the best member has.

# %% tags=["parameters"]
output_dir = None  # where results go; None: the working folder of the host
seed = 0  # of the weight search
members = None  # names in kit.presets.MEMBERS, comma-separated; None: all
evaluations = 100  # the most that a search of the weights may take

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
from kit import ensemble, metrics, plots, results, runtime, submission
from kit.ranking import Ranking

settings = runtime.settings(globals())
left = {
    name: runtime.find_outputs(settings.output_dir, name, "04_tta_inference")
    for name in ("scores.csv", "answers")
}
scores = results.load_scores(*left["scores.csv"])
answers = results.load_answers(*left["answers"])
names = settings.members or results.members_of(scores)
print(f"members: {', '.join(names)}")
results.stop_if_alone(names)


# %%
def load(split):
    files = [
        runtime.find_output(
            settings.output_dir, f"{name}/{split}.npz", "04_tta_inference"
        )
        for name in names
    ]
    return [Ranking.load(file, mmap=True) for file in files]


rankings = {split: load(split) for split in ("holdout", "test")}

# %% [markdown]
# ## Why ranks and not scores?
#
# A sum of scores listens most to the member that speaks loudest.  Eq. 20 asks
# only for the place $j$ that each member $i$ gives a segment $v_s$ in its list:
#
# $$\mathrm{Score}(v_s) = \sum_{i,\,j:\; v_s = v_i^{(j)}} \frac{w_i}{j}$$

# %%
table = results.scores_by_place(rankings["holdout"], names)
figure = plots.score_scales(table)
plots.show(figure, settings.output_dir, "05_scores_and_ranks")

# %% [markdown]
# On the left, go up from one place: the members give the same place different
# scores, and none means a probability that another would agree with.  On the
# right, a place is worth the same whoever gives it, and the first few are worth
# most: a member that is sure of a segment needs no other to bring it up.
#
# ## The search
#
# The local MAP of a weight vector $w$ is a function that can be evaluated but
# not differentiated.  A Gaussian process guesses it between the points tried,
# the next point is the one with the highest expected improvement, and so on
# until nothing is gained.
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
videos = ratings["video_id"].unique()
lists = [ranking.restrict(videos) for ranking in rankings["holdout"]]
search = ensemble.search_weights(
    lists,
    ratings,
    names=names,
    max_evaluations=settings.evaluations,
    seed=settings.seed,
    checkpoint=folder / "search.json",
    progress=ensemble.print_progress,
)

# %%
(folder / "search.json").unlink()  # it served a search that is now over
print(search.comparison.round(4).to_string(index=False))
gain = metrics.bootstrap(
    search.cross_fitted(lists, "Bayesian optimisation"),
    ratings,
    search.cross_fitted(lists, "best single"),
)
print(f"\ncross-fitted, ensemble less best single (95 %): {gain}")

# %% [markdown]
# The last line scores one list of all these videos, each ranked by what the
# other half chose, so it need not be the difference of two rows above; its
# interval is a bootstrap over videos.  Where 0 lies in it, the gain or loss may
# be luck.
#
# ## Did the search find anything?

# %%
figure = plots.convergence(search.history)
plots.show(figure, settings.output_dir, "05_convergence")

# %% [markdown]
# A line that rises late was worth waiting for; random search close behind means
# that the weights hardly matter.
#
# ## Where did the optimiser look?

# %%
figure = plots.tried_weights(search.history)
plots.show(figure, settings.output_dir, "05_tried_weights")

# %% [markdown]
# Every vector tried is one dot in each row, the better ones lower and brighter.
# Where the bright dots of a row huddle, that weight matters; where they are
# spread out, any will do.
#
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
class_names = results.load_names(left["answers"][0])
figure = plots.class_gains(search.classes, class_names)
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
classes = {c for ranking in rankings["test"] for c in ranking.class_ids}
submission.write_csv(fused["test"], path, class_ids=sorted(classes))
print(f"{path}: {len(classes)} classes, {len(fused['test'].order):,} segments")

# %% [markdown]
# ## The whole story in one table

# %%
table = results.final_table(scores, fused, answers, search)
table.to_csv(folder / "scores.csv")
print(results.as_text(table))
print(f"\nsubmission: {path}\nfigures:    {settings.output_dir / 'figures'}")

# %% [markdown]
# **Learned**: what fusing gains here, with the flattery taken out.
# **Next**: more members, more seeds, other shifts; `CONTRIBUTING.md` says how
# to add one.
