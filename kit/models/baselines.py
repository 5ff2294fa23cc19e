"""The baseline that every comparison needs.

Its arguments and what it returns are those of `kit.models`.
"""

from collections.abc import Sequence

import keras

from kit.layers import ClassLogits, FrameFeatures, FramePooling
from kit.models.endpoints import classifier, frame_inputs
from kit.spec import YOUTUBE_8M, FrameSpec


def frame_mean(
    class_ids: Sequence[int], spec: FrameSpec = YOUTUBE_8M
) -> keras.Model:
    """Baseline: logistic regression on the mean frame.

    The frames are not scaled to unit length: a model without a hidden layer
    learns far sooner from features of about unit size.

    4.5 M parameters and 9 MFLOP.
    """
    inputs = frame_inputs(spec)
    x = FrameFeatures(spec, normalize=False, name="frame_features")(**inputs)
    x = FramePooling("mean", name="pooling")(x, mask=inputs["mask"])
    x = ClassLogits(len(class_ids), name="head")(x)
    return classifier(inputs, x, class_ids, "logistic", from_logits=True)
