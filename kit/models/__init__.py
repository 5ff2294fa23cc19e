"""The architectures of the paper, and the baselines it names.

Every builder returns a Functional `keras.Model` that takes a dictionary of
`frames`, the bytes of the records `(batch_size, num_frames, spec.dim)`, and
`mask`, true for real frames `(batch_size, num_frames)`, and returns float32
probabilities `(batch_size, num_classes)`.  The model knows its `FrameSpec` and
the ids behind its columns, and keeps both when it is saved.

Arguments that all builders share:

- `class_ids`: the vocabulary id of each column.
- `spec`: the `FrameSpec` of the data.
- `num_mixtures`: experts a class in the `MixtureOfExperts` head.
- `momentum`: of the moving moments of every batch normalisation.

Costs are given for the paper's sizes: 3,862 classes, M million parameters,
and multiply-adds counted as two FLOP in one forward pass of one example.
"""

from kit.models.baselines import dbof, frame_mean, recurrent
from kit.models.berts import bert, bert_cross
from kit.models.endpoints import (
    YOUTUBE_8M,
    class_ids,
    frame_spec,
    precision,
)
from kit.models.surgery import (
    import_weights,
    restrict_classes,
    training_model,
    with_dtype,
)
from kit.models.vlads import (
    gated_netvlad,
    mix_next_vlad,
    next_vlad,
    next_vlad_logits,
)

__all__ = [
    "YOUTUBE_8M",
    "bert",
    "bert_cross",
    "class_ids",
    "dbof",
    "frame_mean",
    "frame_spec",
    "gated_netvlad",
    "import_weights",
    "mix_next_vlad",
    "next_vlad",
    "precision",
    "next_vlad_logits",
    "recurrent",
    "restrict_classes",
    "training_model",
    "with_dtype",
]
