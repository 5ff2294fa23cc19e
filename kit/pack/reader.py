"""Reading packs: batches of what is on the disk."""

import dataclasses
import os
import zlib

import numpy as np

from kit.data.batches import Blocks, Order, as_dataset
from kit.data.source import check_whole, class_columns
from kit.pack.header import ENTRY, RATING, file_sizes, read_header, size
from kit.pack.rows import Rows
from kit.spec import FrameSpec
from kit.splits import Holdout

HOLDOUT = Holdout()
ORDER = {field.name for field in dataclasses.fields(Order)}


class _Pack:
    """What both kinds of pack share: opening, checking, and the order."""

    kind = ""

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        self.header = header = read_header(folder)
        if header["kind"] != self.kind or not header["complete"]:
            raise ValueError(
                f"This needs a finished pack of {self.kind}: open it by its "
                "own class, or run the packing again to finish it. Received: "
                f"folder={self.folder!r}, kind={header['kind']!r}, "
                f"complete={header['complete']!r}"
            )
        for name, needed in file_sizes(header).items():
            there = size(self.folder, name)
            if there != needed:
                path = os.path.join(self.folder, name)
                raise ValueError(
                    "A file of a pack must have the size that its header "
                    "says: copy it again, or pack again. Received: "
                    f"file={path!r}, bytes={there}, needed={needed}"
                )
        self.spec = FrameSpec(**header["spec"])
        self.length = header["length"]
        self._load_entries()
        self.rows = Rows(self.folder, header)

    def _load_entries(self):
        found = {}
        for name, expected in self.header["checksums"].items():
            path = os.path.join(self.folder, name)
            with open(path, "rb") as file:
                found[name] = file.read()
            if zlib.crc32(found[name]) != expected:
                raise ValueError(
                    "A file of a pack must hold what was written: it is "
                    "damaged, copy it again, or pack again. Received: "
                    f"file={path!r}"
                )
        entries = np.frombuffer(found["entries.bin"], ENTRY)
        self.ratings = np.frombuffer(found["ratings.bin"], RATING)
        # Labels of entry e: ratings[bounds[e]:bounds[e + 1]].
        self.bounds = np.append(0, entries["end"]).astype(np.int64)
        ids = np.array(found["ids.bin"].split(b"\0")[:-1], object)
        self.entries = {"id": ids[entries["video"]]}

    def __len__(self):
        return sum(self.header["rows"])

    def _dataset(
        self,
        columns,
        fill,
        *,
        batch_size: int = 128,
        holdout: Holdout = HOLDOUT,
        part: str = "all",
        with_ids: bool = False,
        **order,
    ):
        """Batches of the rows of `part`; `columns`: class id -> column."""
        if not ORDER.issuperset(order):
            raise ValueError(
                "A pack takes the options of `kit.data` that say which rows "
                "and in what order; what is read, and what to do about "
                "errors, was settled when it was packed: leave these out. "
                f"Received: {', '.join(sorted(order.keys() - ORDER))}"
            )
        order = Order(batch_size, **order)
        width = int(columns.max()) + 1
        extra = ("ids" if fill == 0 else "starts") if with_ids else ""
        classes = self.ratings["class"]
        inside = (classes >= 0) & (classes < len(columns))
        inside[inside] = columns[classes[inside]] >= 0
        if not inside.all():
            raise ValueError(
                "The classes asked for must cover those of the pack: give "
                "more. Received: classes outside="
                f"{np.unique(classes[~inside])[:5].tolist()}"
            )
        keep = holdout.select(self.entries["id"], part)
        if not keep.any():
            raise ValueError(
                "The pack has no video of this part: give another, or a "
                f"larger pack. Received: part={part!r}, len={len(self)}"
            )

        def batches():
            blocks = Blocks()
            for frames, rows in self.rows.batches(order, keep):
                yield self._batch(
                    blocks,
                    order.batch_size,
                    frames,
                    rows,
                    columns,
                    width,
                    fill,
                    extra,
                )

        rows = order.batch_size if order.full else None
        return as_dataset(
            batches, self.length, self.spec.dim, width, rows, extra, True
        )

    def _batch(self, blocks, size, frames, rows, columns, width, fill, extra):
        """The batches of some rows, stacked, as `kit.data` yields one."""
        count = len(rows)
        shape = (max(1, count // size), min(count, size))
        step = np.arange(self.length)
        first = rows["first"][:, None].astype(int)
        mask = (step >= first) & (step < first + rows["count"][:, None])
        entry = rows["entry"]
        begin = self.bounds[entry]
        each = self.bounds[entry + 1] - begin
        # Places of all ratings of the batch: a run from `begin` for each row.
        skip = np.repeat(begin - np.cumsum(each) + each, each)
        found = self.ratings[skip + np.arange(len(skip))]
        targets = blocks.take((count, width)).view(np.int8)
        targets[:] = fill
        which = np.repeat(np.arange(count), each)
        targets[which, columns[found["class"]]] = found["score"]
        inputs = {
            "frames": frames.reshape(*shape, self.length, self.spec.dim),
            "mask": mask.reshape(*shape, self.length),
        }
        batch = (inputs, targets.reshape(*shape, width))
        if not extra:
            return batch
        ids = self.entries["id"][entry].reshape(shape)
        if extra == "ids":
            return *batch, ids
        return *batch, (ids, rows["start"].reshape(shape))


class Snippets(_Pack):
    """A pack of snippets: `data.videos` with a run of frames, but faster.

    Args:
        folder: A finished pack by `pack.pack_snippets`; it is only read.

    Raises:
        ValueError: Where it is not one, or not whole.

    Example:

    >>> snippets = Snippets("snippets")  # doctest: +SKIP
    >>> model.fit(  # doctest: +SKIP
    ...     snippets.batches(num_classes=3862, shuffle=True, repeat=True),
    ...     steps_per_epoch=1000,
    ... )
    """

    kind = "snippets"

    def batches(self, *, num_classes: int, **options):
        """The batches of `data.videos`.

        Args:
            num_classes: Size of the vocabulary; it must cover the labels.
            options: `batch_size`, `holdout`, `part`, `shuffle`, `seed`,
                `first_epoch`, `repeat`, `drop_remainder` and `with_ids` of
                `kit.data`.  The spec and what to do about errors were settled
                when the pack was made.

        Raises:
            ValueError: For bad arguments.
        """
        check_whole("num_classes", num_classes, 1)
        return self._dataset(np.arange(num_classes), 0, **options)


class Segments(_Pack):
    """A pack of rated segments: `data.rated_segments`, but faster.

    Args:
        folder: A finished pack by `pack.pack_segments`; it is only read.

    Raises:
        ValueError: Where it is not one, or not whole.
    """

    kind = "segments"

    def batches(self, *, class_ids, **options):
        """The batches of `data.rated_segments`.

        Args:
            class_ids: Vocabulary ids of the columns of the targets; they must
                cover the rated classes.
            options: As for `Snippets`.

        Raises:
            ValueError: For bad arguments.
        """
        return self._dataset(class_columns(class_ids), -1, **options)
