"""The measure that checkpoints are picked by."""

import keras
import numpy as np

from kit import metrics, models
from kit.ranking import Ranking
from kit.training import hosts


class SegmentEvaluation:
    """The measure that checkpoints are picked by: MAP@K on rated segments.

    The rated segments are read once and kept as bytes (18,500 of them take
    107 MB).  Unrated segments cannot change the score unless a list is cut, so
    they are left out here; the rankings that are saved and submitted hold all.

    Args:
        batches: Rated segments with ids, in order and once, from `kit.data`.
        ratings: Their ratings, with columns `video_id`, `start`, `label` and
            `score`.
        class_ids: Classes to score, `(num_classes,)`.
        k: Cut of each class's list.

    Call arguments:
        model: One whose classes include `class_ids`.
    """

    def __init__(self, batches, ratings, class_ids, k: int = 100_000):
        parts = list(batches.as_numpy_iterator())
        self.inputs = {
            name: np.concatenate([inputs[name] for inputs, _, _ in parts])
            for name in ("frames", "mask")
        }
        self.video_ids = np.concatenate([ids for _, _, (ids, _) in parts])
        self.starts = np.concatenate([starts for _, _, (_, starts) in parts])
        self.ratings, self.class_ids, self.k = ratings, class_ids, k

    def __call__(self, model: keras.Model) -> float:
        known = list(models.class_ids(model))
        columns = [known.index(class_id) for class_id in self.class_ids]
        scores = hosts.predict(model, self.inputs)
        return metrics.mean_average_precision(
            self._ranking(scores[:, columns]),
            self.ratings,
            self.class_ids,
            self.k,
        )

    def floor(self) -> float:
        """MAP of a random order of the same segments."""
        scores = np.zeros((len(self.starts), len(self.class_ids)), np.float32)
        return metrics.random_floor(
            self._ranking(scores), self.ratings, self.class_ids, self.k
        )

    def _ranking(self, scores):
        return Ranking.from_scores(
            scores, self.class_ids, self.video_ids, self.starts, self.k
        )
