"""Training a model through one stage, from wherever it stands."""

import contextlib

import keras
import numpy as np
import pandas as pd

from kit import models
from kit.training import hosts
from kit.training.checkpoint import replace
from kit.training.intervals import Intervals
from kit.training.stage import Stage


def fit(
    model: keras.Model,
    batches,
    *,
    stage: Stage,
    steps: int,
    batch_size: int,
    learning_rate: float,
    evaluate,
    evaluate_every: int,
    patience: int | None = None,
    keep: str = "best",
    warmup_steps: int = 0,
    averaging: float = 0.0,
    facts: dict | None = None,
    restart: bool = False,
    deadline: float | None = None,
    export=None,
) -> pd.DataFrame:
    """Trains `model` in place and leaves it with the weights that were kept.

    Adam with the staircase of section 7 and a clip of 1.0 on each tensor's
    gradient norm.  Where the stage was begun before it goes on, in the
    precision it was begun in; where it is finished its weights are loaded.
    The folder of the stage receives `stage.weights.h5`, `history.csv` and, when
    all is done, `config.json`.

    Args:
        model: From `kit.presets.build`.
        batches: From the number of an interval to endless batches of inputs and
            targets, from `kit.data` or `kit.pack`.
        stage: Where it is saved, and what of it there may be already.
        steps: Optimisation steps, rounded down to whole intervals (and told).
        batch_size: Examples a step, for the schedule.
        learning_rate: At the start; see `learning_rate_schedule`.
        evaluate: From a model to the score; see `SegmentEvaluation`.
        evaluate_every: Steps of an interval, which ends with an evaluation and
            a checkpoint (except where that would take more than a twentieth of
            the time: then with every few).
        patience: Evaluations without a better score before training stops;
            `None` for never.
        keep: `"best"` weights by MAP, or the `"last"`.
        warmup_steps: See `learning_rate_schedule`.
        averaging: Of the weights that are scored and kept, the share that comes
            from those of the evaluation before; 0 for no averaging.  The
            statistics of batch normalisation are averaged with the weights.
        facts: Anything to record in `config.json`.  A stage goes on only where
            they are the same.
        restart: Whether to begin anew, whatever there is.
        deadline: Seconds since the epoch.  No interval begins that would not
            end before; the stage is then left unfinished, to go on later.
        export: Path of a `.keras` file to write when the stage is finished.

    Returns:
        A row per evaluation: `step`, `loss`, `map`, `learning_rate`,
        `examples_per_second` and `seconds`, and `start_map`, the score before
        the first step.  `attrs["finished"]` says whether the stage is.

    Raises:
        ValueError: For bad arguments; where the loss is no number; where what
            there is differs from what is asked; where the disk is full.
    """
    plan = {
        **_checked(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            evaluate_every=min(evaluate_every, steps),
            patience=patience,
            keep=keep,
            warmup_steps=warmup_steps,
            averaging=averaging,
        ),
        "parameters": model.count_params(),
        "backend": keras.backend.backend(),
        **(facts or {}),
    }
    first = hosts.host()[0] == 0  # which writes for all
    with stage.locked() if first else contextlib.nullcontext():
        if restart and first:
            stage.clear()
            for path in filter(None, [export]):
                path.unlink(missing_ok=True)
        hosts.agree(True)  # all wait until that is done
        done = stage.finished(plan)
        hosts.require_same(done is not None)
        if done is not None:
            table = _take_over(model, stage, done)
        else:
            training = Intervals(model, stage, plan, deadline)
            training.restarted = restart
            table = training.run(batches, evaluate)
    if export is not None and table.attrs["finished"] and first:
        if done is None or not export.exists():
            with hosts.alone():
                save_model(model, export)
    return table


def _take_over(model, stage, done) -> pd.DataFrame:
    """What a finished stage left, here or elsewhere."""
    print(f"  finished before: {done}")
    model.load_weights(done / "stage.weights.h5")
    table = stage.history()
    if hosts.host()[0] == 0:
        if done != stage.folder:
            stage.adopt(done)
        stage.tidy()
    return table


def _checked(**plan) -> dict:
    """The settings of a stage as JSON holds them.

    Raises:
        ValueError: Where one makes no sense.
    """
    for name, least in (
        ("steps", 1),
        ("batch_size", 1),
        ("evaluate_every", 1),
        ("patience", 1),
        ("warmup_steps", 0),
    ):
        value = plan[name]
        if name == "patience" and value is None:
            continue
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(
                f"`{name}` must be a whole number of at least {least}. "
                f"Received: {name}={value!r}"
            )
        plan[name] = int(value)
    if plan["keep"] not in ("best", "last") or not 0 <= plan["averaging"] < 1:
        raise ValueError(
            "`keep` must be 'best' or 'last', and `averaging` at least 0 and "
            f"below 1. Received: keep={plan['keep']!r}, "
            f"averaging={plan['averaging']}"
        )
    plan["averaging"] = float(plan["averaging"])
    if not plan["learning_rate"] > 0:
        raise ValueError(
            "`learning_rate` must be above 0. "
            f"Received: learning_rate={plan['learning_rate']}"
        )
    plan["learning_rate"] = float(plan["learning_rate"])
    return plan


def save_model(model: keras.Model, path) -> None:
    """Writes the `.keras` file under the float32 policy, atomically.

    A model trained in float16 then serves anywhere; its variables are float32
    in any case.
    """
    replace(path, models.with_dtype(model, "float32").save)
