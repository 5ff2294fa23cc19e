"""The learning rate of section 7."""

from keras.optimizers import schedules


def staircase(
    learning_rate: float,
    batch_size: int,
    decay_examples: int = 2_000_000,
    decay_rate: float = 0.9,
) -> schedules.LearningRateSchedule:
    """Multiplies by `decay_rate` every `decay_examples` examples (section 7).

    Paper: every 2 M examples.  The released scripts say 4 M.

    Args:
        learning_rate: At the start.
        batch_size: Examples a step.
    """
    steps = max(1, round(decay_examples / batch_size))
    return schedules.ExponentialDecay(
        learning_rate, steps, decay_rate, staircase=True
    )
