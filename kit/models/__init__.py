"""The architectures of arXiv:1912.01127, "the paper", and a baseline.

Every builder returns a Functional `keras.Model` that takes a dictionary of
`frames`, the bytes of the records `(batch_size, num_frames, spec.dim)`, and
`mask`, true for real frames `(batch_size, num_frames)`, and returns float32
probabilities `(batch_size, num_classes)`.  The model knows its `FrameSpec` and
the ids behind its columns, and keeps both when it is saved.

Arguments that mean the same in every builder that has them:

- `class_ids`: the vocabulary id of each column.
- `spec`: the `FrameSpec` of the data.
- `num_mixtures`: experts a class in the `MixtureOfExperts` head.
- `momentum`: of the moving moments of every batch normalisation.

A model of your own is made of the same parts, here a GRU in place of BERT:

>>> inputs = frame_inputs(spec)
>>> x = FrameFeatures(spec)(**inputs)
>>> x = keras.layers.GRU(1024)(x, mask=inputs["mask"])
>>> x = MixtureOfExperts(len(class_ids))(x)
>>> model = classifier(inputs, x, class_ids, name="gru")

Costs are given for the paper's sizes: 3,862 classes, M for million,
and multiply-adds counted as two FLOP in one forward pass of one example.
"""

from kit.models.baselines import frame_mean
from kit.models.berts import bert, bert_cross
from kit.models.endpoints import (
    FrameModel,
    check_window,
    class_ids,
    classifier,
    context,
    find_layers,
    frame_inputs,
    frame_spec,
    trace_predict,
)
from kit.models.surgery import (
    multiple_instance,
    restrict_classes,
    save,
    training_model,
    with_dtype,
)
from kit.models.vlads import gated_netvlad, mix_next_vlad, next_vlad_logits
