"""The layers the models are built from, one idea a file.

A layer with a class axis can be cut down to some of its columns.  Its
`restricted(columns)` is an unbuilt copy that returns those columns alone, and
`class_variables`, where it has weights, are those whose last axis the columns
index.  `kit.models.restrict_classes` asks for no more than that.
"""

from kit.layers.bag_pooling import BagPooling
from kit.layers.class_logits import ClassLogits
from kit.layers.class_probabilities import ClassProbabilities
from kit.layers.frames import FrameFeatures
from kit.layers.gating import ContextGating, SqueezeExcitationGating
from kit.layers.mixture_of_models import MixtureOfModels
from kit.layers.moe import MixtureOfExperts
from kit.layers.netvlad import NetVLAD
from kit.layers.nextvlad import NeXtVLAD
from kit.layers.pooling import FramePooling
from kit.layers.segment_mask import SegmentMask
from kit.layers.transformer import TransformerEncoder, TransformerLayer
