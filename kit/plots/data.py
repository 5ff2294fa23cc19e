"""The data: labels and ratings."""

import matplotlib.pyplot as plt
import numpy as np

from kit.plots import style


def labels_per_class(counts, segment_class_ids) -> plt.Figure:
    """How many videos carry each label, and which are segment classes?

    Args:
        counts: Videos per class, `(num_classes,)`.
        segment_class_ids: The classes of the segment task.
    """
    figure, axes = style.page(8, 3)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    place = np.arange(1, len(order) + 1)
    rated = np.isin(order, segment_class_ids)
    for mask, colour, label in (
        (~rated, style.UNSURE, "video label only"),
        (rated, style.YES, "also a segment class"),
    ):
        axes.bar(place[mask], counts[order][mask], color=colour, label=label)
    axes.set(yscale="log", ylabel="videos (log)")
    axes.set_xlabel("class, by number of videos")
    axes.set_title("Labels are few and far from even")
    axes.legend()
    return figure


def ratings_per_class(ratings, names: dict, most: int = 40) -> plt.Figure:
    """How often was each class rated, and how often was the label right there?

    Args:
        ratings: Columns `label` and `score`, a row a rating.
        names: Class id to name.
        most: Draw so many classes, those rated most often.
    """
    groups = ratings.groupby("label")["score"].agg(["sum", "count"])
    groups = groups.sort_values("count", ascending=False, kind="stable")
    groups = groups.head(most)
    figure, axes = style.page(8, 1.2 + 0.2 * len(groups))
    place, yes = np.arange(len(groups)), groups["sum"].to_numpy()
    no = groups["count"] - yes
    axes.barh(place, yes, color=style.YES, label="shows it")
    axes.barh(place, no, left=yes, color=style.NO, label="no")
    style.name_rows(axes, [style.class_name(names, i) for i in groups.index])
    axes.set_xlabel("rated segments")
    axes.set_title(f"{ratings['score'].mean():.0%} of all ratings say yes")
    axes.legend()
    return figure
