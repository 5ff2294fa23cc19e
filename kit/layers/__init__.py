"""The layers the models are built from, one idea a file."""

from kit.layers.class_probabilities import ClassProbabilities
from kit.layers.frames import FrameFeatures
from kit.layers.gating import ContextGating, SqueezeExcitationGating
from kit.layers.mixture_of_models import MixtureOfModels
from kit.layers.moe import MixtureOfExperts
from kit.layers.netvlad import NetVLAD
from kit.layers.nextvlad import NeXtVLAD
from kit.layers.pooling import FramePooling
from kit.layers.transformer import TransformerEncoder, TransformerLayer

__all__ = [
    "ClassProbabilities",
    "ContextGating",
    "FrameFeatures",
    "FramePooling",
    "MixtureOfExperts",
    "MixtureOfModels",
    "NeXtVLAD",
    "NetVLAD",
    "SqueezeExcitationGating",
    "TransformerEncoder",
    "TransformerLayer",
]
