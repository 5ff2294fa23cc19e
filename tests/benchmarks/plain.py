"""The reference of `train-step` and `predict`: the equations, one einsum each.

Each class has the weights of a layer of the kit, and only its `call` is
written again, as one would write the equations down.
"""

import keras
import numpy as np
from keras import ops

from kit import layers


class FrameFeatures(layers.FrameFeatures):
    def call(self, frames, mask=None):
        x = ops.cast(frames, self.compute_dtype) * (4 / 255) + (4 / 512 - 2)
        x = x * ops.cast(mask, x.dtype)[..., None]
        x = x / _length(x)
        if not self.split:
            return x
        return [x[..., : self.spec.rgb], x[..., self.spec.rgb :]]


class NetVLAD(layers.NetVLAD):
    def call(self, inputs, mask=None, training=None):
        x = inputs
        logits = ops.einsum("btd,dk->btk", x, self.kernel)
        logits = self.batch_norm(logits, mask=mask, training=training)
        share = ops.softmax(logits) * ops.cast(mask, x.dtype)[..., None]
        centers = ops.cast(self.centers, x.dtype)
        vlad = ops.einsum("btk,btd->bkd", share, x)
        vlad = vlad - ops.einsum("btk,kd->bkd", share, centers)
        vlad = vlad / _length(vlad)
        return ops.reshape(vlad, (-1, vlad.shape[1] * vlad.shape[2]))


class NeXtVLAD(layers.NeXtVLAD):
    def call(self, inputs, mask=None, training=None):
        x = _dense(self.expand, inputs)
        attention = ops.sigmoid(_dense(self.attention, x))  # (B, T, G)
        attention = attention * ops.cast(mask, x.dtype)[..., None]
        logits = ops.einsum("btd,da->bta", x, self.assignment.kernel)
        logits = self.assignment_norm(logits, mask=mask, training=training)
        num_frames = ops.shape(x)[1]
        grouped = (-1, num_frames, self.num_groups)
        share = ops.softmax(ops.reshape(logits, (*grouped, self.num_clusters)))
        share = share * attention[..., None]  # (B, T, G, K)
        x = ops.reshape(x, (*grouped, self.centers.shape[1]))
        centers = ops.cast(self.centers, x.dtype)
        vlad = ops.einsum("btgk,btgd->bkd", share, x)
        vlad = vlad - ops.einsum("btgk,kd->bkd", share, centers)
        vlad = vlad / _length(vlad)
        vlad = ops.reshape(vlad, (-1, vlad.shape[1] * vlad.shape[2]))
        return self.output_norm(vlad, training=training)


class ContextGating(layers.ContextGating):
    def call(self, inputs, training=None):
        gate = ops.einsum("bd,de->be", inputs, self.kernel)
        return inputs * ops.sigmoid(self.batch_norm(gate, training=training))


class FramePooling(layers.FramePooling):
    def call(self, inputs, mask=None):
        real = ops.cast(mask, inputs.dtype)
        if self.mode == "concat":
            x = inputs * real[..., None]
            return ops.reshape(x, (-1, x.shape[1] * x.shape[2]))
        if self.mode == "first":
            return inputs[:, 0]
        if self.mode == "mean":
            share = real / ops.sum(real, axis=1, keepdims=True)
        else:
            scores = ops.einsum("btd,d->bt", inputs, self.kernel)
            share = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
            share = share * real
            share = share / ops.sum(share, axis=1, keepdims=True)
        return ops.einsum("bt,btd->bd", share, inputs)


class TransformerEncoder(layers.TransformerEncoder):
    def call(self, inputs, mask=None, training=None):
        x = inputs
        for layer in self.layers:
            y = _attention(layer, x, mask, training)
            x = layer.attention_norm(x + layer.dropout(y, training=training))
            y = ops.gelu(_dense(layer.feed_forward, x), approximate=False)
            y = layer.dropout(_dense(layer.project, y), training=training)
            x = layer.output_norm(x + y)
        return x


class MixtureOfExperts(layers.MixtureOfExperts):
    def call(self, inputs, training=None):
        gates = ops.einsum("bd,dmc->bmc", inputs, self.gate_kernel)
        experts = ops.einsum("bd,dmc->bmc", inputs, self.expert_kernel)
        experts = ops.sigmoid(experts + self.expert_bias)
        gates = ops.softmax(gates, axis=1)[:, :-1]
        x = ops.cast(ops.sum(gates * experts, axis=1), "float32")
        return self.gating(x, training=training) if self.output_gating else x


def _dense(layer, x):
    product = ops.einsum("btd,de->bte", x, ops.cast(layer.kernel, x.dtype))
    return product + ops.cast(layer.bias, x.dtype)


def _length(x):
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)


def _attention(layer, x, mask, training):
    """Equations 2 and 3."""
    part = layer.attention
    query, key, value = (
        ops.einsum("btd,dnh->btnh", x, ops.cast(dense.kernel, x.dtype))
        + ops.cast(dense.bias, x.dtype)
        for dense in (part.query_dense, part.key_dense, part.value_dense)
    )
    scores = ops.einsum("bqnh,bknh->bnqk", query, key)
    scores = scores / part.key_dim**0.5
    scores = ops.where(mask[:, None, None, :], scores, -3e4)
    share = layer.dropout(ops.softmax(scores), training=training)
    x = ops.einsum("bnqk,bknh->bqnh", share, value)
    kernel = ops.cast(part.output_dense.kernel, x.dtype)
    bias = ops.cast(part.output_dense.bias, x.dtype)
    return ops.einsum("bqnh,nhd->bqd", x, kernel) + bias


PLAIN = {
    layers.FrameFeatures: FrameFeatures,
    layers.NetVLAD: NetVLAD,
    layers.NeXtVLAD: NeXtVLAD,
    layers.ContextGating: ContextGating,
    layers.FramePooling: FramePooling,
    layers.TransformerEncoder: TransformerEncoder,
    layers.MixtureOfExperts: MixtureOfExperts,
}


def plain(model):
    """A model with the weights of `model`, its equations written plainly."""

    def clone(layer):
        kind = PLAIN.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    for old, new in zip(model.weights, copy.weights, strict=True):
        # By way of NumPy: on JAX the two would share a buffer that a step of
        # either gives away.
        new.assign(np.asarray(old))
    return copy
