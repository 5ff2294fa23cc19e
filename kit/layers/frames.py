"""From the bytes on disk to the features a model computes with."""

from dataclasses import asdict

import keras
from keras import ops

from kit.layers.masking import frame_mask
from kit.layers.normalization import l2_normalize
from kit.spec import OFFSET, SCALE, FrameSpec


@keras.saving.register_keras_serializable(package="kit")
class FrameFeatures(keras.layers.Layer):
    """Turns quantised frames into floats, as the first layer of a model.

    Frames travel as bytes from disk to device and become floats here, so that
    a saved model takes the bytes as they are stored: no difference between
    training and serving, and a quarter of the transfer.  A frame is
    dequantised, set to zero where the mask says that it is padding, and
    scaled to unit length, all in float32; the result has the compute dtype.

    Args:
        spec: `FrameSpec` of the data (or its fields as a dictionary).  It is
            part of the config, which is how a saved model knows its data.
        normalize: Whether to scale the joint frame, visual and audio features
            together, to unit length.  The published models do.
        split: Whether to return the visual and the audio features apart.

    Call arguments:
        frames: uint8 tensor of shape `(batch_size, num_frames, spec.dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.  Other frames become zero.

    Output:
        Tensor of shape `(batch_size, num_frames, spec.dim)`; with
        `split=True` a list of visual `(batch_size, num_frames, spec.rgb)` and
        audio `(batch_size, num_frames, spec.audio)`, without the one that the
        spec says is empty.

    Example:

    >>> layer = FrameFeatures(FrameSpec(rgb=3, audio=1), split=True)
    >>> visual, audio = layer(np.full((2, 5, 4), 255, dtype="uint8"))
    >>> visual.shape, audio.shape
    ((2, 5, 3), (2, 5, 1))

    Reference:

    - [Abu-El-Haija et al., 2016](https://arxiv.org/abs/1609.08675)
    """

    def __init__(self, spec, normalize=True, split=False, **kwargs):
        super().__init__(**kwargs)
        self.spec = FrameSpec(**spec) if isinstance(spec, dict) else spec
        self.normalize = normalize
        self.split = split
        self.supports_masking = True

    def build(self, frames_shape):
        if frames_shape[-1] != self.spec.dim:
            raise ValueError(
                "Frames must have as many features as the `FrameSpec` says: "
                "change the spec or read the data it describes. Received: "
                f"features={frames_shape[-1]}, spec={self.spec}"
            )

    def call(self, frames, mask=None):
        dtype = keras.backend.standardize_dtype(frames.dtype)
        if dtype != "uint8":
            raise ValueError(
                "Frames must be the bytes of the records, for they are "
                "dequantised here: pass uint8, not features already "
                f"dequantised. Received: frames.dtype={dtype}"
            )
        mask = ops.expand_dims(frame_mask(frames, mask), -1)  # (B, T, 1)
        x = ops.cast(frames, "float32") * SCALE + OFFSET
        x = ops.where(mask, x, 0.0)
        if self.normalize:
            x = l2_normalize(x)
        x = ops.cast(x, self.compute_dtype)
        if not self.split:
            return x
        parts = [x[..., : self.spec.rgb], x[..., self.spec.rgb :]]
        return [part for part in parts if part.shape[-1]]

    def compute_mask(self, frames, mask=None):
        parts = [size for size in (self.spec.rgb, self.spec.audio) if size]
        return [mask for _ in parts] if self.split else mask

    def compute_output_shape(self, frames_shape):
        if not self.split:
            return tuple(frames_shape)
        parts = [size for size in (self.spec.rgb, self.spec.audio) if size]
        return [(*frames_shape[:-1], size) for size in parts]

    def get_config(self):
        config = {"normalize": self.normalize, "split": self.split}
        return {**super().get_config(), "spec": asdict(self.spec), **config}
