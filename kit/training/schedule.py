"""How weights are updated: Adam, the loss, the learning rate over a stage."""

import keras
from keras import ops

from kit import losses


def learning_rate_schedule(
    learning_rate: float,
    batch_size: int,
    decay_rate: float = 0.9,
    decay_examples: int = 2_000_000,
    warmup_steps: int = 0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Times `decay_rate` every `decay_examples` examples, in stairs (sec. 7).

    Paper: every 2 M examples.  The released scripts say 4 M.

    Args:
        learning_rate: At the start, or where the warm-up ends.
        batch_size: Examples a step.
        warmup_steps: Steps over which it rises from zero.
    """
    schedule = keras.optimizers.schedules.ExponentialDecay(
        learning_rate,
        decay_steps=max(1, round(decay_examples / batch_size)),
        decay_rate=decay_rate,
        staircase=True,
    )
    return LinearWarmUp(schedule, warmup_steps) if warmup_steps else schedule


@keras.saving.register_keras_serializable(package="kit")
class LinearWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a straight line to another schedule in `warmup_steps` steps.

    Args:
        schedule: The `LearningRateSchedule` that is followed from then on; it
            counts its steps from the start.
        warmup_steps: At least one.
    """

    def __init__(self, schedule, warmup_steps: int):
        super().__init__()
        if warmup_steps < 1:
            raise ValueError(
                "`warmup_steps` must be at least 1. "
                f"Received: warmup_steps={warmup_steps}"
            )
        self.schedule, self.warmup_steps = schedule, warmup_steps

    def __call__(self, step):
        done = (ops.cast(step, "float32") + 1) / self.warmup_steps
        return self.schedule(step) * ops.minimum(done, 1.0)

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["warmup_steps"])


def compile_for_training(trainee: keras.Model, learning_rate) -> None:
    """Gives a training model the optimizer and the loss of section 7."""
    trainee.compile(
        keras.optimizers.Adam(learning_rate, clipnorm=1.0),
        losses.loss_for(trainee),
    )
