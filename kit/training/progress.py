"""What a person sees of a stage while it trains."""

import math
import sys
import time

import keras

from kit.training import hosts

BAR = 20  # characters


class NonFiniteLoss(Exception):
    """The loss is no number any more; `step` says since when."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


class Progress(keras.callbacks.Callback):
    """A bar with step, loss, examples/s, learning rate and time to go.

    It also ends the interval when the loss is no number or time is up.

    Args:
        step: Steps done before.
        steps: Steps of the stage.
        batch_size: Examples a step.
        deadline: Seconds since the epoch at which to stop, or None.
    """

    def __init__(self, step, steps, batch_size, deadline):
        super().__init__()
        self.step, self.steps, self.batch_size = step, steps, batch_size
        self.deadline, self.late = deadline, False
        # A terminal or a notebook redraws a line; a log takes one a minute.
        self.live = sys.stdout.isatty() or "ipykernel" in sys.modules
        self.rate, self.shown = 0.0, time.time()

    def on_train_begin(self, logs=None):
        self.first_step, self.started = self.step, time.time()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if not math.isfinite(logs["loss"]):
            raise NonFiniteLoss(self.step)
        now = time.time()
        # The first step compiles: what it takes says nothing of the rest.
        if self.step == self.first_step + 1:
            self.started = now
            done = 0
        else:
            done = self.step - self.first_step - 1
            self.rate = done * self.batch_size / max(now - self.started, 1e-9)
        # Several hosts may stop between intervals only, where they agree.
        if self.deadline and now > self.deadline and hosts.host()[1] == 1:
            self.late = self.model.stop_training = True
        if done and now - self.shown > (1 if self.live else 60):
            self.shown = now
            self.show(logs["loss"], end="\r" if self.live else "\n")

    def show(self, loss: float, more: str = "", end: str = "\n") -> None:
        left = (self.steps - self.step) * self.batch_size
        to_go = clock(left / self.rate) if self.rate else "?"
        rate = float(self.model.optimizer.learning_rate)
        bar = "=" * round(BAR * self.step / self.steps)
        width = len(str(self.steps))
        print(
            f"  [{bar:<{BAR}}] step {self.step:>{width}}/{self.steps}"
            f"  loss {loss:.4f}{more}  {self.rate:,.0f} examples/s"
            f"  learning rate {rate:.1e}  {to_go} to go ",
            end=end,
            flush=True,
        )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as far as needed: 2:05:00, 0:45."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"
