"""A second process that reads shards ahead of this one.

Most of what a record costs is its copy from the page cache and its checksum.
Neither needs what this process knows, so another does both, into memory that
the two share, where records are looked at without a copy.  It answers with the
number of good bytes alone: what ends a file, a damage or the end of the
process itself is found once more, and named, by `kit.data.tfrecord` here.
"""

import atexit
import collections
import contextlib
import itertools
import json
import mmap
import os
import subprocess
import sys
import warnings

from kit.data import tfrecord

STREAMS = 8  # files that are read in turn
CHUNK = 2**20
LEAST = 16 * 2**20  # a smaller file is read before the other has begun

_resting = []


@contextlib.contextmanager
def reading():
    """A `Reader` for one pass over files; one of an earlier pass, if free."""
    reader = _resting.pop() if _resting else Reader()
    if not reader.usable():
        reader = Reader()
    try:
        yield reader
    finally:
        # One that was left in the middle still owes answers.
        if reader.usable() and not reader.asked:
            _resting.append(reader)
        else:
            reader.close()


class Reader:
    """Reads files ahead, where that is possible and they are worth it."""

    def __init__(self):
        self.owner = os.getpid()
        self.process = None
        self.asked = collections.deque()
        self.answers = {}
        self.free = list(range(2 * STREAMS))
        self.numbers = itertools.count()

    def usable(self) -> bool:
        """Whether its process, if any, is alive and nobody else's."""
        if self.owner != os.getpid():
            return False  # a fork has copied this one
        return self.process is None or self.process.poll() is None

    def close(self) -> None:
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            with self.process:  # closes its pipes and waits for it
                pass

    def records(self, path: str):
        """Yields the records of a file, as `tfrecord.records` does.

        Each is lent: its memory is written to again once the next is asked
        for.
        """
        end = 0
        for chunk in self._chunks(path):
            at = 0
            while at < len(chunk):
                size, _ = tfrecord.HEAD.unpack_from(chunk, at)
                at += tfrecord.HEAD.size
                yield chunk[at : at + size]
                at += size + tfrecord.TAIL.size
            end += len(chunk)
        yield from tfrecord.records(path, end)

    def _chunks(self, path):
        """Yields views of what the other process has read and found good."""
        if not self._worth(path):
            return
        mine = [self.free.pop(), self.free.pop()]
        number = next(self.numbers)
        for slot in mine:
            self._ask(slot, number, path)
        for slot in itertools.cycle(mine):
            size = self._answer(slot)
            if not size:
                break
            start = slot * CHUNK
            yield self.memory[start : start + size]
            self._ask(slot, number, path)
        mine.remove(slot)
        self._answer(*mine)
        self.free += [slot, *mine]

    def _worth(self, path):
        if not available() or not self.usable() or len(self.free) < 2:
            return False
        if "://" in path:
            return False
        try:
            if os.path.getsize(path) < LEAST:
                return False
            if self.process is None:
                self._start()
        except OSError:
            return False  # what is wrong is told by who reads it here
        return True

    def _start(self):
        shared = os.memfd_create("records")
        try:
            os.ftruncate(shared, 2 * STREAMS * CHUNK)
            self.memory = memoryview(mmap.mmap(shared, 0))
            self.process = subprocess.Popen(
                # By its file: the package would import TensorFlow.
                [sys.executable, "-P", tfrecord.__file__, str(shared)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[shared],
                bufsize=0,
            )
        finally:
            os.close(shared)

    def _ask(self, slot, number, path):
        request = json.dumps([slot * CHUNK, CHUNK, number, path])
        # Where it has ended, the wait for its answer finds out.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(request.encode() + b"\n")
        self.asked.append(slot)

    def _answer(self, slot):
        """How many bytes there are in the slot; 0 after the last."""
        while slot not in self.answers:
            answer = self.process.stdout.read(tfrecord.ANSWER.size)
            if len(answer) < tfrecord.ANSWER.size:
                self.close()
                warnings.warn(
                    "The process that reads shards ahead has ended; reading "
                    "goes on without it, more slowly.",
                    stacklevel=2,
                )
                self.answers |= dict.fromkeys(self.asked, 0)
                self.asked.clear()
                break
            (size,) = tfrecord.ANSWER.unpack(answer)
            self.answers[self.asked.popleft()] = size
        return self.answers.pop(slot)


@atexit.register
def _end() -> None:
    while _resting:
        _resting.pop().close()


def available() -> bool:
    """Whether this machine has what reading ahead takes."""
    return (
        hasattr(os, "memfd_create")
        and len(os.sched_getaffinity(0)) > 1
        and tfrecord.fast()
    )
