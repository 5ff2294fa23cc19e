"""An end in time, where the host sets one."""

import math
import time

import keras


class TimeLimit(keras.callbacks.Callback):
    """Ends `fit` after an epoch where another would not end in time.

    Make one for all that is trained in a session: the time counts from there.
    The first epoch of a `fit` is always trained, so leave room for one.

    Args:
        hours: `None` for no limit.

    Attributes:
        reached: Whether another epoch would not end in time.
    """

    def __init__(self, hours: float | None):
        super().__init__()
        seconds = math.inf if hours is None else 3600 * hours
        self.deadline, self.longest = time.monotonic() + seconds, 0.0

    @property
    def reached(self) -> bool:
        return time.monotonic() + self.longest > self.deadline

    def on_train_begin(self, logs=None):
        self.last, self.longest = time.monotonic(), 0.0

    def on_epoch_end(self, epoch, logs=None):
        # From end to end, with what other callbacks take.
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        if epoch + 1 < self.params["epochs"] and self.reached:
            self.model.stop_training = True
            print(f"\nTime is up after epoch {epoch + 1}: run again to resume.")
