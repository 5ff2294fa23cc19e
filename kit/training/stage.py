"""Training a model through one stage, from wherever it stands."""

import contextlib
import math
import time

import keras
import numpy as np
import pandas as pd
from keras import ops

from kit import losses, models
from kit.training import hosts
from kit.training.progress import NonFiniteLoss, Progress, clock
from kit.training.schedule import learning_rate_schedule
from kit.training.state import FORMAT, Stage, replace, replace_text

# Writing checkpoints may take one part in so many of the time.
CHECKPOINT_SHARE = 20


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
        steps: Optimisation steps, rounded down to whole intervals.
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
    for name, value in (("steps", steps), ("evaluate_every", evaluate_every),
                        ("batch_size", batch_size)):  # fmt: skip
        if value < 1:
            raise ValueError(
                f"`{name}` must be at least 1. Received: {name}={value}"
            )
    if keep not in ("best", "last") or not 0 <= averaging < 1:
        raise ValueError(
            "`keep` must be 'best' or 'last', and `averaging` at least 0 and "
            f"below 1. Received: keep={keep!r}, averaging={averaging}"
        )
    plan = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "evaluate_every": min(evaluate_every, steps),
        "patience": patience,
        "keep": keep,
        "warmup_steps": warmup_steps,
        "averaging": averaging,
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
        if done is not None:
            print(f"  finished before: {done}")
            model.load_weights(done / "stage.weights.h5")
            table = stage.history()
            if done != stage.folder and first:
                stage.adopt(done)
        else:
            training = _Training(model, stage, plan, deadline)
            training.restarted = restart
            table = training.run(batches, evaluate)
    if export is not None and table.attrs["finished"] and first:
        if done is None or not export.exists():
            with hosts.alone():
                save_model(model, export)
    return table


def compile_for_training(trainee: keras.Model, learning_rate) -> None:
    """Gives a training model the optimizer and the loss of section 7."""
    trainee.compile(
        keras.optimizers.Adam(learning_rate, clipnorm=1.0),
        losses.loss_for(trainee),
    )


def save_model(model: keras.Model, path) -> None:
    """Writes the `.keras` file under the float32 policy, atomically.

    A model trained in float16 then serves anywhere; its variables are float32
    in any case.
    """
    replace(path, models.with_dtype(model, "float32").save)


class _Training:
    """A stage under way: what its methods share is what a checkpoint holds."""

    def __init__(self, model, stage, plan, deadline):
        self.model, self.stage, self.plan = model, stage, plan
        self.deadline = deadline
        self.rows, self.averaged, self.start_map = [], [], None
        self.done, self.restarted = 0, False  # in this session
        self.saved_rows, self.saved_at, self.save_cost = 0, 0.0, 0.0
        self.prepare(models.precision(model))
        self.kept = self.weights()

    def prepare(self, precision):
        """Makes what is trained; `restore` may ask for another precision."""
        self.precision, self.trained = precision, self.model
        policy = keras.config.dtype_policy()
        # Keras scales the loss by the policy that a model was made under.
        keras.config.set_dtype_policy(precision)
        try:
            if precision != models.precision(self.model):
                self.trained = models.with_dtype(self.model, precision)
            self.trainee = models.training_model(self.trained)
        finally:
            keras.config.set_dtype_policy(policy)
        schedule = learning_rate_schedule(
            self.plan["learning_rate"],
            self.plan["batch_size"],
            warmup_steps=self.plan["warmup_steps"],
        )
        compile_for_training(self.trainee, schedule)
        self.trainee.optimizer.build(self.trainee.trainable_variables)

    def run(self, batches, evaluate):
        record = self.stage.load(self.plan, self.restore)
        self.stage.check_room(sum(array.nbytes for _, array in self.arrays()))
        if record is None:
            self.start_map = hosts.score(evaluate, self.trained)
        self.announce()
        try:
            self.intervals(batches, evaluate)
        except BaseException:
            # Also of a session that fails, all is kept that is whole.
            self.stage.keep_for_later()
            raise
        if not self.is_finished():
            return self.stop()
        return self.finish()

    def intervals(self, batches, evaluate):
        """Trains until the stage is finished, or time is up."""
        while not self.is_finished():
            # Saved as long as the state is that of a whole interval.
            if self.is_late(intervals=3) and self.saved_rows < len(self.rows):
                self.save()
            if self.is_late():
                return
            step = self.plan["evaluate_every"] * len(self.rows)
            progress = Progress(
                step, self.plan["steps"], self.plan["batch_size"], self.deadline
            )
            loss = self.interval(batches(len(self.rows)), progress)
            if progress.late:
                return
            self.look(evaluate, loss, progress)

    def interval(self, dataset, progress):
        """Trains to the next evaluation; returns the mean loss."""
        self.started = time.time()
        try:
            history = self.trainee.fit(
                hosts.feed(dataset),
                steps_per_epoch=self.plan["evaluate_every"],
                callbacks=[progress],
                shuffle=False,  # the batches are; else Keras warns
                verbose=0,
            ).history
        except NonFiniteLoss as error:
            self.give_up(error.step)
        return history["loss"][-1]

    def give_up(self, step):
        """Leaves the last good weights and says when they went bad."""
        _assign(self.model.weights, self.kept)
        path = self.write_weights()
        rate = float(self.trainee.optimizer.learning_rate)
        raise ValueError(
            "The loss is no longer a number: begin again with `restart` "
            "(--restart yes) and a lower learning rate; the last good weights "
            f"are in {path}. Received: step={step}, learning_rate={rate}"
        ) from None

    def look(self, evaluate, loss, progress):
        """Scores the hold-out, keeps what is best, and saves."""
        before = max((row["map"] for row in self.rows), default=-math.inf)
        weights, share = self.weights(), self.plan["averaging"]
        # The loss of a step is that before its update.
        if not all(np.isfinite(array).all() for array in weights):
            self.give_up(progress.step)
        scored = weights
        if share:
            older = self.averaged or weights
            scored = self.averaged = [
                share * old + (1 - share) * new
                for old, new in zip(older, weights, strict=True)
            ]
            _assign(self.trained.weights, scored)
        score = hosts.score(evaluate, self.trained)
        if share:
            _assign(self.trained.weights, weights)
        if score > before or self.plan["keep"] == "last":
            self.kept = scored
        now = time.time()
        row = {
            "step": progress.step,
            "loss": loss,
            "map": score,
            "start_map": self.start_map,
            "learning_rate": float(self.trainee.optimizer.learning_rate),
            "examples_per_second": round(progress.rate, 1),
            "seconds": round(now - self.started, 3),
        }
        self.rows.append(row)
        self.done += 1
        progress.show(loss, f"  MAP {score:.4f}")
        if now - self.saved_at >= CHECKPOINT_SHARE * self.save_cost:
            self.save()

    def is_finished(self) -> bool:
        scores = [row["map"] for row in self.rows]
        if len(scores) == self.plan["steps"] // self.plan["evaluate_every"]:
            return True
        patience = self.plan["patience"]
        if patience is None or not scores:
            return False
        return len(scores) - 1 - int(np.argmax(scores)) >= patience

    def is_late(self, intervals=1.2) -> bool:
        """Whether so many more intervals will not fit into the time."""
        if self.deadline is None:
            return False
        # Of the last intervals: others may be from another machine.
        longest = max((row["seconds"] for row in self.rows[-3:]), default=0)
        end = time.time() + intervals * longest + self.save_cost
        return hosts.agree(end > self.deadline)

    def save(self):
        self.saved_at = time.time()
        if hosts.host()[0] > 0:
            return  # the first host writes for all
        record = {
            "format": FORMAT,
            "plan": self.plan,
            "precision": self.precision,
            "rows": self.rows,
        }
        self.stage.save(len(self.rows), record, self.arrays())
        text = self.table().to_csv(index=False)
        replace_text(self.stage.folder / "history.csv", text)
        self.save_cost = time.time() - self.saved_at
        self.saved_rows = len(self.rows)

    def restore(self, record, arrays):
        """Takes over the state of a checkpoint."""
        if record["precision"] != self.precision:
            self.prepare(record["precision"])
        for name, variables in self.variables().items():
            _assign(
                variables,
                [arrays[f"{name}{at}"] for at in range(len(variables))],
            )
        count = len(self.trained.weights)
        for name in ("kept", "averaged"):
            held = self.weights() if name == "kept" else []
            if f"{name}0" in arrays:
                held = [arrays[f"{name}{at}"] for at in range(count)]
            setattr(self, name, held)
        self.rows = record["rows"]
        self.start_map = self.rows[0]["start_map"]
        self.saved_rows = len(self.rows)

    def arrays(self):
        """Pairs of name and array, of all that a checkpoint holds."""
        for name, variables in self.variables().items():
            for at, variable in enumerate(variables):
                yield f"{name}{at}", ops.convert_to_numpy(variable)
        held = {"averaged": self.averaged}
        if self.plan["keep"] == "best" or self.plan["averaging"]:
            held["kept"] = self.kept
        for name, values in held.items():
            for at, value in enumerate(values):
                yield f"{name}{at}", value

    def variables(self):
        # Those of the model include the states of dropout, which no weight
        # file of Keras holds.
        return {
            "model": self.trainee.variables,
            "optimizer": self.trainee.optimizer.variables,
        }

    def weights(self):
        return [np.array(ops.convert_to_numpy(w)) for w in self.trained.weights]

    def table(self, finished=False):
        table = pd.DataFrame(self.rows)
        table.attrs["finished"] = finished
        return table

    def stop(self):
        """Leaves the stage so that the same command goes on with it."""
        self.stage.keep_for_later()
        step = self.plan["evaluate_every"] * self.saved_rows
        same = "the same command"
        if self.restarted:
            same += " without --restart (`restart` = None)"
        print(
            f"  stopped at step {step} of {self.plan['steps']}, since time is "
            f"up: {same} goes on from here"
        )
        if not self.done:
            print(
                "  Not one interval fitted into the time: give a longer "
                "--time-limit, or begin anew with a smaller --evaluate-every"
            )
        return self.table()

    def finish(self):
        _assign(self.model.weights, self.kept)
        folder, table = self.stage.folder, self.table(finished=True)
        self.write_weights()
        if hosts.host()[0] > 0:
            return table
        replace_text(folder / "history.csv", table.to_csv(index=False))
        config = {
            "format": FORMAT,
            **self.plan,
            "precision": self.precision,
            "steps_done": self.rows[-1]["step"],
            "best_map": max(row["map"] for row in self.rows),
            "seconds": sum(row["seconds"] for row in self.rows),
        }
        self.stage.finish(config)
        print(f"  finished in {clock(config['seconds'])}: {folder}")
        return table

    def write_weights(self):
        """Writes the weights of the model, the first host for all."""
        path = self.stage.folder / "stage.weights.h5"
        if hosts.host()[0] == 0:
            with hosts.alone():
                replace(path, self.model.save_weights)
        return path

    def announce(self):
        plan = self.plan
        facts = {
            "parameters": f"{plan['parameters']:,} in {self.precision}",
            "batch": f"{plan['batch_size']} examples, {plan['steps']:,} steps",
            "learning rate": plan["learning_rate"],
            "looks": f"every {plan['evaluate_every']:,} steps, "
            f"keeps the {plan['keep']} weights",
            "begins with": f"MAP {self.start_map:.4f}",
            "saved in": self.stage.folder,
        }
        if self.rows:
            facts["goes on"] = f"after step {self.rows[-1]['step']:,}"
        for name, fact in facts.items():
            print(f"  {name + ':':<15} {fact}")


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
