"""From a model and videos to scores of every segment, resumable."""

from kit.inference.localize import localize
from kit.inference.resume import fingerprint, remaining
from kit.inference.windows import predict, shifted_windows, with_prior
