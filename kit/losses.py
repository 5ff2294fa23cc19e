"""What training minimises, leaving out what nobody rated."""

import keras
from keras import ops

from kit.layers.mixture_of_models import MixtureOfModels
from kit.spec import MINED, UNRATED


@keras.saving.register_keras_serializable(package="kit")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy on probabilities, over the rated classes.

    Summed over classes and averaged over the batch, so that the size of a
    gradient does not depend on how many classes there are or are rated.

    A probability enters as `log(p + 1e-7)` in float32: finite for 0 and 1,
    and unlike clipping it leaves a confident mistake its gradient.

    Args:
        mined: Weight, from 0 to 1, of a class that nobody rated in a segment
            and that is no label of its video: it counts as so much of a *no*.
            Such *mined negatives* are not in the paper, so the default is 0.

    Call arguments:
        y_true: int8 of shape `(batch_size, num_classes)`: 1 yes, 0 no,
            -1 nobody knows, -2 a mined negative.
        y_pred: Probabilities of shape `(batch_size, num_classes)`.

    Raises:
        ValueError: Where `mined` is out of range, and where targets and model
            differ in the number of classes.
    """

    def __init__(self, mined=0.0, name="masked_binary_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.mined = _check_share(mined)

    def call(self, y_true, y_pred):
        _check_classes(y_true, y_pred)
        y_pred = ops.cast(y_pred, "float32")
        right = ops.where(y_true == 1, y_pred, 1.0 - y_pred)
        losses = -ops.log(right + 1e-7)
        return ops.sum(_weighted(losses, y_true, self.mined), axis=-1)

    def get_config(self):
        return {**super().get_config(), "mined": self.mined}


@keras.saving.register_keras_serializable(package="kit")
class DistillationLoss(keras.losses.Loss):
    """The loss of a mixture whose branches also learn from it.

    Equations 17 to 19 of the paper: binary cross-entropy of the mixture and
    of each branch, plus `T^2` times the KL divergence of each branch from the
    mixture, both softened by the temperature T.  The mixture teaches and
    takes no gradient from the divergence.  Unrated classes (-1) are left out
    of the cross-entropies; the divergence needs no ratings and runs over all
    classes.

    Args:
        temperature: T; the paper's is 3.
        mined: As of `MaskedBinaryCrossentropy`.

    Call arguments:
        y_true: int8 of shape `(batch_size, num_classes)`.
        y_pred: Logits of shape `(batch_size, 1 + num_branches, num_classes)`,
            the mixture's first.

    Raises:
        ValueError: Where `temperature` or `mined` is out of range, and where
            targets and model differ in the number of classes.

    Reference:

    - [Lan et al., 2018](https://arxiv.org/abs/1806.04606)
    """

    def __init__(
        self, temperature=3.0, mined=0.0, name="distillation", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        if temperature <= 0:
            rule = "`temperature` must be positive."
            raise ValueError(f"{rule} Received: temperature={temperature}")
        self.temperature, self.mined = temperature, _check_share(mined)

    def call(self, y_true, y_pred):
        _check_classes(y_true, y_pred)
        logits = ops.cast(y_pred, "float32")
        y_true = ops.expand_dims(y_true, 1)  # (B, 1, C)
        target = ops.cast(y_true == 1, "float32")
        losses = ops.softplus(logits) - target * logits  # (B, 1 + N, C)
        losses = _weighted(losses, y_true, self.mined)
        softened = ops.log_softmax(logits / self.temperature, axis=-1)
        teacher = ops.stop_gradient(softened[:, :1])
        divergence = ops.exp(teacher) * (teacher - softened[:, 1:])
        divergence = self.temperature**2 * ops.sum(divergence, axis=(1, 2))
        return ops.sum(losses, axis=(1, 2)) + divergence

    def get_config(self):
        own = {"temperature": self.temperature, "mined": self.mined}
        return {**super().get_config(), **own}


def _check_share(mined):
    if not 0 <= mined <= 1:
        raise ValueError(
            "`mined` is a weight from 0, which leaves unrated classes out, to "
            f"1, that of a rating. Received: mined={mined}"
        )
    return float(mined)


def _weighted(losses, y_true, mined):
    """Nothing of what nobody rated, and a share of the mined negatives."""
    losses = ops.where(y_true == MINED, mined * losses, losses)
    return ops.where(y_true == UNRATED, 0.0, losses)


def _check_classes(y_true, y_pred):
    """Refuses unequal class numbers: one column would silently be repeated."""
    if y_true.shape[-1] != y_pred.shape[-1]:
        raise ValueError(
            "Targets must have a column for each class of the model: read them "
            "for `kit.models.class_ids(model)`. Received: "
            f"y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )


def loss_for(model: keras.Model, mined: float = 0.0) -> keras.losses.Loss:
    """The loss to train a model with: `training_model(model)` minimises it.

    Args:
        model: A model of `kit.models`, or its training model; for bags the
            model that they were made for.
        mined: As of `MaskedBinaryCrossentropy`.

    Returns:
        `DistillationLoss` for a mixture of models, `MaskedBinaryCrossentropy`
        for every other.
    """
    if any(isinstance(layer, MixtureOfModels) for layer in model.layers):
        return DistillationLoss(mined=mined)
    return MaskedBinaryCrossentropy(mined)
