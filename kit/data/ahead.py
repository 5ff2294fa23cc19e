"""Reading ahead in a second process, where there is a core for it.

Copying a record from the disk, its checksum and finding its frames take more
than half of what a record costs, and Python does one thing at a time.  A second
process does these, and says where in shared memory the frames are; all else,
and all that is bad in a file, stays with the first.
"""

import atexit
import contextlib
import mmap
import os
import socket
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
# A process that has had more to hold is not kept, nor is its memory.
MOST_SLOTS = 128

# What the process needs is imported without the packages around it, which
# import Keras.
_START = """
import sys, types
sys.path[:] = {search}
for name, path in {packages}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = path
from kit.data import helper
helper.serve({memory}, {connection})
"""

_idle = []
_open = weakref.WeakSet()


class _Gone(Exception):
    """The process is not to be talked to."""


class Reader:
    """A process that reads shards ahead.

    Raises:
        OSError: Where it cannot be started.
    """

    def __init__(self):
        self.owner = os.getpid()
        self.asked = deque()  # of what takes an answer, and its slot's array
        self.areas = []  # of mapped memory
        self.users = []  # of each slot: a weak reference to its array
        self.shards = 0
        self.sound = True  # what was asked and answered is in step
        self.memory = os.memfd_create("kit.data")
        ours, theirs = socket.socketpair()
        self.talk = helper.Talk(ours)
        packages = [
            ("kit", list(kit.__path__)),
            ("kit.data", [os.path.dirname(__file__)]),
        ]
        start = _START.format(
            search=[*map(str, sys.path)],
            packages=packages,
            memory=self.memory,
            connection=theirs.fileno(),
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[self.memory, theirs.fileno()],
                start_new_session=True,  # an interrupt is for this process
            )
        except OSError:
            self.talk.close()
            os.close(self.memory)
            raise
        finally:
            theirs.close()
        _open.add(self)

    def records(self, file, widths):
        """Yields the records of a shard up to the first that is not as usual.

        Args:
            file: An open local file; the process reads the same one, whatever
                has its name by then.
            widths: Bytes of a frame of `rgb` and of `audio`, 0 for none.

        Yields:
            `Laid` records; their frames are views of memory that is used
            again once nobody holds them.

        Returns:
            Where in the file the rest begins.
        """
        self.shards += 1
        ready, offset = deque(), 0
        path = f"/proc/{self.owner}/fd/{file.fileno()}"
        asked = self.shards, path, tuple(map(int, widths))
        try:
            for _ in range(DEPTH):
                self._ask(ready, *asked)
            while True:
                while not ready:
                    self._answer()
                array, found = ready.popleft()
                if not found:
                    return offset
                self._ask(ready, *asked)
                for end, context, *places in found:
                    if self.owner != os.getpid():  # the memory is not ours
                        return offset
                    rgb, audio = (
                        at and wire.frames(array, *at) for at in places
                    )
                    offset = end
                    yield Laid(context, rgb, audio)
        except _Gone:
            return offset

    def usable(self) -> bool:
        """Whether another pass may have it, after what the last one left."""
        try:
            while self.asked:
                self._answer()
            with self._talking():
                self.talk.send(None)
        except _Gone:
            return False
        return True

    def close(self) -> None:
        """Ends the process."""
        if self in _open and self.owner == os.getpid():
            _open.remove(self)
            self.sound = False
            self.process.kill()
            self.process.wait()
            self.talk.close()
            os.close(self.memory)

    @contextlib.contextmanager
    def _talking(self):
        """What is interrupted here leaves the two out of step."""
        if not self.sound or self.owner != os.getpid():
            raise _Gone
        self.sound = False
        try:
            yield
        except (EOFError, ConnectionError) as error:
            raise _Gone from error
        self.sound = True

    def _ask(self, ready, *asked):
        with self._talking():
            slot, array = self._slot()
            self.talk.send((*asked, slot))
            self.asked.append((ready, array))

    def _answer(self):
        with self._talking():
            found = self.talk.receive()
            ready, array = self.asked.popleft()
            ready.append((array, found))

    def _slot(self) -> tuple[int, np.ndarray]:
        """The number of a slot that nobody looks at, and its bytes."""
        unused = (at for at, user in enumerate(self.users) if user() is None)
        number = next(unused, len(self.users))
        area, place = divmod(number, helper.AREA)
        if area == len(self.areas):
            size = helper.AREA * helper.SLOT
            try:
                os.ftruncate(self.memory, (area + 1) * size)
                mapped = mmap.mmap(self.memory, size, offset=area * size)
            except OSError as error:
                raise _Gone from error
            self.areas.append(mapped)
        array = np.frombuffer(
            self.areas[area], np.uint8, helper.SLOT, place * helper.SLOT
        )
        array.flags.writeable = False
        self.users[number:] = [weakref.ref(array), *self.users[number + 1 :]]
        return number, array


def take(shards) -> Reader | None:
    """A process to read these shards with; None where it would not pay."""
    if not (
        hasattr(os, "memfd_create")
        and sys.executable
        and tfrecord.fast()
        and len(os.sched_getaffinity(0)) > 1
        and _worth(shards)
    ):
        return None
    while _idle:
        reader = _idle.pop()
        if reader.usable():
            return reader
        reader.close()
    try:
        return Reader()
    except OSError:
        return None


def give_back(reader: Reader | None) -> None:
    """Keeps the process for the next pass, if it is fit for one."""
    if reader is None or reader.owner != os.getpid():
        return
    if reader.sound and len(reader.users) <= MOST_SLOTS:
        _idle.append(reader)
    else:
        reader.close()


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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


@atexit.register
def _end() -> None:
    for reader in list(_open):
        reader.close()
    _idle.clear()
