"""One step of training, and of prediction, of every member at full size.

Ours against the same equations written plainly, with the same weights, in the
same backend, dtype and batch.  `--help` lists the options; the same command
serves a CPU and a GPU.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from tests.benchmarks.report import ratio, table


def train_step(arguments):
    _compare("train-step", arguments, _train, flops_factor=3)


def predict(arguments):
    _compare("predict", arguments, _predict, flops_factor=1)


def _compare(name, arguments, prepare, flops_factor):
    options = _options(name, arguments)
    from kit import presets

    members = options.members or list(presets.MEMBERS)
    # A process each: two models of 281 M parameters and what trains them fill
    # a machine, and are not all given back.
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        rows = []
        for member in members:
            job = pool.submit(_one, member, options, prepare, flops_factor)
            *row, batch_size, peak = job.result()
            rows.append(row)
            print(f"{member}: {row[2]:.3g}/s, ratio {row[-1]:.2f}", flush=True)
    table(
        f"{name}: {options.backend}, {options.dtype}, batch {batch_size} (the "
        f"paper has 128), xla {options.xla}; a {peak / 1e9:,.0f} GFLOP/s peak, "
        "measured",
        "member frames ours/s plain/s GFLOP/s of-peak ratio".split(),
        rows,
    )
    print("The ratio is the lowest of the members.")
    ratio(min(row[-1] for row in rows))


def _one(member, options, prepare, flops_factor):
    """A row of the table, the batch size and the machine's peak."""
    os.environ["KERAS_BACKEND"] = options.backend
    import keras

    from kit import presets
    from tests.benchmarks.plain import plain

    gpu = keras.distribution.list_devices()[0].startswith("gpu")
    batch_size = options.batch or (128 if gpu else 8)
    peak = _peak(options.dtype, gpu)
    keras.config.set_dtype_policy(options.dtype)
    model = presets.build(member, scale=options.scale)
    num_frames = presets.MEMBERS[member].num_frames
    data = _data(batch_size, num_frames)
    work = flops_factor * flops(model, num_frames) * batch_size
    sides = (model, plain(model))
    steps = [prepare(side, data, options.xla) for side in sides]
    seconds = _seconds(steps, options.steps)
    return (
        member,
        num_frames,
        *(batch_size / s for s in seconds),
        work / seconds[0] / 1e9,
        f"{work / seconds[0] / peak:.0%}",
        seconds[1] / seconds[0],
        batch_size,
        peak,
    )


def _options(name, arguments):
    parser = argparse.ArgumentParser(f"python -m tests.benchmarks {name}")
    backends = ("tensorflow", "jax")
    parser.add_argument("--backend", choices=backends, default="tensorflow")
    policies = ("float32", "mixed_float16", "mixed_bfloat16")
    parser.add_argument("--dtype", choices=policies, default="float32")
    parser.add_argument("--batch", type=int, help="128 on a GPU, else 8")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--members", nargs="*", help="default: all nine")
    parser.add_argument("--steps", type=int, default=3, help="the median of")
    parser.add_argument("--scale", choices=("paper", "tiny"), default="paper")
    return parser.parse_args(arguments)


def _data(batch_size, num_frames):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (batch_size, num_frames, 1152), "uint8")
    mask = np.ones((batch_size, num_frames), bool)
    targets = (rng.random((batch_size, 3862)) < 3 / 3862).astype("int8")
    return {"frames": frames, "mask": mask}, targets


def _train(model, data, xla):
    import keras

    from kit import losses, models

    trainee = models.training_model(model)
    loss = losses.loss_for(model)
    adam = keras.optimizers.Adam(1e-4, clipnorm=1.0)
    trainee.compile(adam, loss, jit_compile=xla)
    return lambda: float(trainee.train_on_batch(*data))


def _predict(model, data, xla):
    model.compile(jit_compile=xla)
    return lambda: model.predict_on_batch(data[0])


def _seconds(steps, repeats):
    """Median seconds of each, in turns, so that all meet the same load."""
    for step in steps:
        step(), step()
    seconds = [[] for _ in steps]
    for _ in range(repeats):
        for step, taken in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    return [float(np.median(taken)) for taken in seconds]


def _peak(dtype, gpu):
    """FLOP/s of one large matrix product in the dtype that computes."""
    from keras import ops

    size = 8192 if gpu else 2048
    x = ops.ones((size, size), dtype.removeprefix("mixed_"))
    (seconds,) = _seconds([lambda: float(ops.matmul(x, x)[0, 0])], 5)
    return 2 * size**3 / seconds


def flops(model, num_frames):
    """FLOP of one forward pass of one example, matrix products alone."""
    import keras

    from kit import layers

    total = 0
    for layer in model.layers:
        if not layer.weights:
            continue
        first = keras.tree.flatten(layer.input)[0]
        times = num_frames if len(first.shape) == 3 else 1
        for weight in layer.trainable_weights:
            if len(weight.shape) > 1 and weight.name != "centers":
                total += 2 * times * int(np.prod(weight.shape))
        if isinstance(layer, layers.NetVLAD | layers.NeXtVLAD):
            groups = getattr(layer, "num_groups", 1)
            centers = int(np.prod(layer.centers.shape))
            total += 2 * num_frames * groups * centers
        if isinstance(layer, layers.TransformerEncoder):
            total += layer.num_layers * 4 * num_frames**2 * first.shape[-1]
    return total
