"""What Keras' `fit` lacks: data by epoch, MAP of segments, exact resuming.

```python
backup = training.Backup(folder, about)
batches = training.epochs(snippets.epoch, backup.epoch, epochs, steps)
trainee.fit(
    batches,
    epochs=epochs,
    steps_per_epoch=steps,
    initial_epoch=backup.epoch,
    shuffle=False,  # they are shuffled
    callbacks=[
        training.SegmentMAP(model, rated, class_ids),
        keras.callbacks.CSVLogger(folder / "history.csv", append=True),
        training.TimeLimit(hours),
        backup,
    ],
)
backup.finish(model)
```

Callbacks act in the order of the list: `SegmentMAP` comes before those that
read `val_map`, and `Backup` last, since it saves what the others have counted.

**Several devices of one machine** share each batch after one line at the top,
before any model is built, and the rest stays as it is:
`runtime.use_all_devices()`, which takes `tf.distribute.MirroredStrategy` on
TensorFlow and `keras.distribution.DataParallel` on JAX.

**Several machines** train one model together on JAX.  Each runs the same
script, told which one it is by the variables that `initialize` reads
(`KERAS_DISTRIBUTION_JOB_ADDRESSES`, `_NUM_PROCESSES` and `_PROCESS_ID`), and
reads its own shards:

```python
keras.distribution.initialize()
keras.distribution.set_distribution(
    keras.distribution.DataParallel(auto_shard_dataset=False)
)
host, hosts = jax.process_index(), jax.process_count()
snippets = data.Snippets(
    shards[host::hosts], spec, num_classes, batch_size=batch_size // hosts
)
```

The first saves in `folder`, on a disk that they share, for the others to
resume from:

```python
backup = training.Backup(
    folder if host == 0 else tempfile.mkdtemp(), about, attached=folder
)
```

`SegmentMAP` and `TimeLimit` are for one machine: keep the last weights, and
evaluate them later.
"""

from kit.training.backup import Backup
from kit.training.checkpoint import check_same
from kit.training.epochs import epochs
from kit.training.history import history, read_about
from kit.training.precision import precision
from kit.training.segment_map import SegmentMAP
from kit.training.staircase import staircase
from kit.training.time_limit import TimeLimit
