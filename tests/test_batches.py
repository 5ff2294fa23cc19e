import gc
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kit import data
from kit.data.batches import Blocks


def test_memory_in_use_is_not_handed_out_again():
    blocks = Blocks()
    held = []
    for at in range(30):
        array = blocks.take((3, 5))
        array[:] = at
        # A view of a view; the array itself is let go.
        held.append(array.reshape(-1)[4:9][1:])
    del array
    gc.collect()
    for at, view in enumerate(held):
        assert (view == at).all()


def test_memory_let_go_is_used_again():
    blocks = Blocks()
    places = set()
    for _ in range(30):
        array = blocks.take((300, 1000))
        assert array.ctypes.data % 64 == 0
        places.add(array.ctypes.data)
        del array
    assert len(places) == 1


def test_batches_that_are_kept_keep_their_content():
    """TensorFlow holds the memory it was given for as long as it needs it."""
    blocks = Blocks()

    def arrays():
        for at in range(60):
            array = blocks.take((16, 100))
            array[:] = at
            yield array

    dataset = tf.data.Dataset.from_generator(
        arrays, output_signature=tf.TensorSpec((16, 100), tf.uint8)
    ).prefetch(2)
    kept = list(dataset)
    views = list(dataset.as_numpy_iterator())
    for at in range(60):
        np.testing.assert_array_equal(kept[at], np.full((16, 100), at))
        np.testing.assert_array_equal(views[at], np.full((16, 100), at))


def test_nothing_is_left_to_a_thread_that_sleeps(sample):
    """TensorFlow's tuning let half of all passes end when it woke: with passes
    of two seconds, half a second late."""
    dataset = data.videos(data.list_shards(sample, "train"), num_classes=None)
    assert dataset.options().autotune.enabled is False


ENDLESS = """
import sys
from kit import data

held = []
for seed in range(8):
    batches = data.videos(
        data.list_shards(sys.argv[1], "train"),
        num_classes=100, num_frames=60, sampling="frames",
        shuffle=True, repeat=True, seed=seed,
    )
    held.append(iter(batches))
    next(held[-1])
"""


@pytest.mark.slow
def test_a_script_that_holds_endless_batches_ends(sample):
    """It would wait for a thread that the end of Python has stopped."""
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", ENDLESS, sample], check=True, timeout=120
        )
