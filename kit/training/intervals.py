"""The intervals of a stage: steps, a look at the hold-out, a checkpoint."""

import math
import time

import keras
import numpy as np
import pandas as pd
from keras import ops

from kit import models
from kit.training import hosts
from kit.training.checkpoint import FORMAT, replace, replace_text
from kit.training.progress import NonFiniteLoss, Progress, clock
from kit.training.schedule import (
    compile_for_training,
    learning_rate_schedule,
)

# Writing checkpoints may take one part in so many of the time.
CHECKPOINT_SHARE = 20


class Intervals:
    """A stage under way: what its methods share is what a checkpoint holds."""

    def __init__(self, model, stage, plan, deadline):
        self.model, self.stage, self.plan = model, stage, plan
        self.looks = plan["steps"] // plan["evaluate_every"]
        self.steps = self.looks * plan["evaluate_every"]
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
        hosts.require_same(len(self.rows))
        self.stage.check_room(sum(array.nbytes for _, array in self.arrays()))
        if record is None:
            self.start_map = self.score(evaluate)
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
                step, self.steps, self.plan["batch_size"], self.deadline
            )
            loss = self.interval(batches(len(self.rows)), progress)
            if progress.late:
                return
            if progress.step < step + self.plan["evaluate_every"]:
                raise ValueError(
                    "The batches of an interval must not end before it does: "
                    "`batches` must repeat its examples. Received: "
                    f"{progress.step - step} batches of "
                    f"{self.plan['evaluate_every']}"
                )
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
        score = self.score(evaluate)
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

    def score(self, evaluate) -> float:
        score = hosts.score(evaluate, self.trained)
        if not math.isfinite(score):
            raise ValueError(
                "`evaluate` must return a number, by which the best weights "
                f"are known. Received: {score}"
            )
        return score

    def is_finished(self) -> bool:
        scores = [row["map"] for row in self.rows]
        if len(scores) == self.looks:
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
            f"  stopped at step {step} of {self.steps}, since time is "
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
            "batch": f"{plan['batch_size']} examples, {self.steps:,} steps",
            "learning rate": plan["learning_rate"],
            "looks": f"every {plan['evaluate_every']:,} steps, "
            f"keeps the {plan['keep']} weights",
            "begins with": f"MAP {self.start_map:.4f}",
            "saved in": self.stage.folder,
        }
        if self.steps < plan["steps"]:
            facts["batch"] += f" ({plan['steps']:,}, in whole intervals)"
        if self.rows:
            facts["goes on"] = f"after step {self.rows[-1]['step']:,}"
        for name, fact in facts.items():
            print(f"  {name + ':':<15} {fact}")


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
