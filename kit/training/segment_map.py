"""The measure that checkpoints are chosen by."""

import keras
import numpy as np

from kit import metrics, models


class SegmentMAP(keras.callbacks.Callback):
    """Writes `val_map` into the logs: MAP of the rated segments, each epoch.

    Must come before the callbacks that monitor it.  The segments are predicted
    in batches of one size, the last filled up, so that nothing is compiled
    twice.

    Args:
        model: The model that predicts.  `fit` trains it, or what
            `models.training_model` made of it.
        rated: Rated segments, such as `pack.Pack.rated()`: with `inputs`,
            a dict of arrays `(n, ...)`, and `targets` `(n, num_classes)`, 1
            yes, 0 no, below 0 unknown.
        class_ids: Vocabulary ids of the columns of `targets`, all of which the
            model must know.  Defaults to the model's own.
        batch_size: Rows of a batch, a multiple of the number of devices.

    Attributes:
        floor: MAP of a random order of the same segments.

    Raises:
        ValueError: Where classes are unknown to the model or not as many as
            columns, and where segments lack the context that it takes.
    """

    def __init__(self, model, rated, class_ids=None, batch_size: int = 512):
        super().__init__()
        self.predictor, self.batch_size = model, batch_size
        self.targets = rated.targets  # (n, C)
        self.floor = metrics.floor_of_targets(self.targets)
        known = models.class_ids(model).tolist()
        class_ids = known if class_ids is None else list(class_ids)
        unknown, width = set(class_ids) - set(known), self.targets.shape[1]
        if unknown or len(class_ids) != width:
            raise ValueError(
                "The model must have the classes that it is evaluated on: give "
                "the id of each column, of `kit.models.class_ids(model)`. "
                f"Received: {len(class_ids)} class_ids for {width} columns, "
                f"unknown {sorted(unknown)[:5]}"
            )
        models.check_window(model, rated.inputs["mask"].shape[1])
        self.columns = [known.index(class_id) for class_id in class_ids]
        padding = -len(self.targets) % batch_size
        self.inputs = {
            name: np.concatenate([array, array[:1].repeat(padding, axis=0)])
            for name, array in rated.inputs.items()
        }

    def evaluate(self) -> float:
        """MAP of the model as it is."""
        batch = {key: x[: self.batch_size] for key, x in self.inputs.items()}
        models.trace_predict(self.predictor, [batch])
        scores = self.predictor.predict(
            self.inputs, batch_size=self.batch_size, verbose=0
        )[: len(self.targets), self.columns]
        return float(metrics.map_of_scores(scores, self.targets))

    def on_epoch_end(self, epoch, logs=None):
        logs["val_map"] = self.evaluate()
