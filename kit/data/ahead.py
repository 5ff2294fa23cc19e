"""Reading ahead in a second process, where there is a core for it.

Copying a record from the disk, its checksum and finding its frames take more
than half of what a record costs, and Python does one thing at a time.  A second
process does these, and says where in shared memory the frames are; all else,
and all that is bad in a file, stays with the first.
"""

import atexit
import mmap
import os
import subprocess
import sys
import weakref
from collections import deque

import numpy as np

import kit
from kit.data import helper, tfrecord, wire
from kit.data.records import Laid

# Starting the process takes as long as reading so many bytes.
WORTH_BYTES = 256 * 2**20
# Answers of each shard that are under way or waiting.
DEPTH = 4

# What the process needs is imported without the packages around it, which
# import Keras.
_START = """
import sys, types
sys.path[:] = {search}
for name, path in {packages}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = path
from kit.data import helper
helper.serve({memory})
"""

_idle = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Reader:
    """A process that reads shards ahead.

    Raises:
        OSError: Where it cannot be started.
    """

    def __init__(self):
        self.memory = os.memfd_create("kit.data")
        self.slots = []  # of mapped memory and a weak reference to its array
        self.asked = deque()  # of what takes an answer, and its slot's array
        self.shards = 0
        packages = [
            ("kit", list(kit.__path__)),
            ("kit.data", [os.path.dirname(__file__)]),
        ]
        start = _START.format(
            search=[*map(str, sys.path)],
            packages=packages,
            memory=self.memory,
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self.memory],
                start_new_session=True,  # an interrupt is for this process
            )
        except OSError:
            os.close(self.memory)
            raise

    def records(self, path: str, widths):
        """Yields the records of a shard up to the first that is not as usual.

        Args:
            path: A local file.
            widths: Bytes of a frame of `rgb` and of `audio`, 0 for none.

        Yields:
            `Laid` records; their frames are views of memory that is used
            again once nobody holds them.

        Returns:
            Where in the file the rest begins.
        """
        self.shards += 1
        ready, offset = deque(), 0
        # The process may be in another folder.
        asked = self.shards, os.path.abspath(path), widths
        try:
            for _ in range(DEPTH):
                self._ask(ready, *asked)
            while True:
                while not ready:
                    self._answer()
                array, found, end = ready.popleft()
                if not found:
                    return end
                self._ask(ready, *asked)
                for context, *places in found:
                    rgb, audio = (
                        at and wire.frames(array, *at) for at in places
                    )
                    yield Laid(context, rgb, audio)
                offset = end
        except (EOFError, OSError):  # it has ended
            return offset

    def forget(self) -> None:
        """Has it drop what a pass that was left early had asked for.

        Raises:
            EOFError, OSError: Where it has ended.
        """
        while self.asked:
            self._answer()
        helper.send(self.process.stdin, None)

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        os.close(self.memory)

    def _ask(self, ready, *asked):
        slot, array = self._slot()
        helper.send(self.process.stdin, (*asked, slot))
        self.asked.append((ready, array))

    def _answer(self):
        found, end = helper.receive(self.process.stdout)
        ready, array = self.asked.popleft()
        ready.append((array, found, end))

    def _slot(self) -> tuple[int, np.ndarray]:
        """The number of a slot that nobody looks at, and its bytes."""
        unused = (
            number
            for number, (_, user) in enumerate(self.slots)
            if user() is None
        )
        number, size = next(unused, len(self.slots)), helper.SLOT
        if number == len(self.slots):
            os.ftruncate(self.memory, (number + 1) * size)
            mapped = mmap.mmap(self.memory, size, offset=number * size)
            self.slots.append((mapped, None))
        mapped, _ = self.slots[number]
        array = np.frombuffer(mapped, np.uint8)
        self.slots[number] = mapped, weakref.ref(array)
        return number, array


def take(shards) -> Reader | None:
    """A process to read these shards with; None where it would not pay."""
    if not (
        hasattr(os, "memfd_create")
        and tfrecord.fast()
        and len(os.sched_getaffinity(0)) > 1
        and _worth(shards)
    ):
        return None
    while _idle:
        reader = _idle.pop()
        try:
            reader.forget()
            return reader
        except (EOFError, OSError):
            reader.close()
    try:
        return Reader()
    except OSError:
        return None


def give_back(reader: Reader | None) -> None:
    """Keeps the process for the next pass."""
    if reader is not None:
        _idle.append(reader)


def _worth(shards) -> bool:
    total = 0
    for path in shards:
        if "://" in path:
            return False
        try:
            total += os.path.getsize(path)
        except OSError:
            return False
        if total >= WORTH_BYTES:
            return True
    return False


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().close()
