"""`python -m kit.stages.cost`: what each member would take, on this device."""

import time

import keras
import numpy as np
import pandas as pd

from kit import models, presets, runtime, stages, training

data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where a sample would be generated
pack_dir = None  # a pack of snippets, to pre-train on in place of shards
seed = 0  # of everything drawn at random, the simulated sample included
members = None  # names in kit.presets.MEMBERS; None: all nine
scale = "paper"  # "paper" or "tiny"
num_classes = None  # size of the vocabulary of video labels
frame_spec = None  # rgb, audio, max_frames, segment_frames of other features
batch_size = 128  # examples a step; fewer where memory demands
precision = None  # a dtype policy of Keras; None: what suits the device

STEPS = {stage: plan["paper"]["steps"] for stage, plan in stages.PLANS.items()}
SECONDS = 5.0  # of each measurement, after what warms it up
LEAST_STEPS = 3


def cost_table(run, names) -> pd.DataFrame:
    """Measures members; the hours are of the paper's steps of 128 examples.

    Returns:
        A row a member: `parameters`, what the device trains and what the data
        source delivers for each stage, in examples a second; `hours` of both
        stages; and what limits pre-training, reading or computing.
    """
    rows = []
    for name in names:
        batches = stages.video_batches(run, name)(0)
        reads = reading(batches)
        segments = reading(stages.segment_batches(run)(0))
        count, trains = computing(run, name, next(iter(batches)))
        both = {"pretrain": reads, "finetune": segments}
        seconds = sum(
            128 * STEPS[stage] / min(trains, speed)
            for stage, speed in both.items()
        )
        rows.append(
            {
                "member": name,
                "parameters": f"{count:,}",
                "trains/s": round(trains, 1),
                "snippets read/s": round(reads),
                "segments read/s": round(segments),
                "hours": round(seconds / 3600, 1),
                "limit": "reading" if reads < trains else "computing",
            }
        )
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    return pd.DataFrame(rows).set_index("member")


def reading(batches) -> float:
    """Examples a second that a data set of batches delivers."""
    count, start = 0, None
    for inputs, _ in batches:
        if start is None:  # the first waits for the shuffle buffer to fill
            start = time.perf_counter()
            continue
        count += len(inputs["mask"])
        if time.perf_counter() - start > SECONDS:
            break
    return count / (time.perf_counter() - start)


def computing(run, name: str, batch) -> tuple[int, float]:
    """Parameters of a member, and examples a second that it trains."""
    import tensorflow as tf

    keras.backend.clear_session()
    model = presets.build(name, run.num_classes, scale=run.scale, spec=run.spec)
    trainee = models.training_model(model)
    training.compile_for_training(trainee, 1e-4)
    same = tf.data.Dataset.from_tensors(batch).repeat()
    size, steps = len(batch[0]["mask"]), LEAST_STEPS
    while True:
        progress = training.Progress(0, steps, size, None)
        progress.live = False
        trainee.fit(
            same,
            steps_per_epoch=steps,
            callbacks=[progress],
            shuffle=False,
            verbose=0,
        )
        seconds = steps * size / progress.rate
        if seconds > SECONDS / 2:
            return model.count_params(), progress.rate
        steps = int(np.ceil(steps * 1.5 * SECONDS / seconds))


def main() -> None:
    run = runtime.settings(
        globals(),
        needs=("train", "validate"),
        packed=("train",),
        sample={"members": None},
    )
    print(runtime.prepare(0, run.precision))
    print(
        "Hours are of the paper's 200,000 + 20,000 steps of 128 examples, at "
        "what was measured here"
    )
    table = cost_table(run, run.given["members"] or list(presets.MEMBERS))
    print("\n" + table.to_string())


if __name__ == "__main__":
    main()
