"""Time-localised labels for video segments from YouTube-8M frame features.

Importing `kit` registers its Keras classes, so that a saved `.keras` model
loads without further custom code.  TensorFlow is imported only by the modules
that read data.
"""

from kit import layers, losses, models

__version__ = "0.1.0"
