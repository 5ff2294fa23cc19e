"""The process that reads ahead: what it does, see `kit.data.ahead`.

It knows good records alone.  Where one is not as every known writer makes it,
or a checksum is wrong, it stops before that record, and the process it works
for reads on and says what is the matter.
"""

import gc
import marshal
import mmap
import os
import socket
import stat
import struct

import numpy as np

from kit.data import tfrecord, wire

SLOT = 2 * 2**20  # bytes: records of one answer
AREA = 16  # slots mapped at once; each mapping takes a descriptor
_LENGTH = struct.Struct("<Q")


class Shard:
    """A shard that is read slot by slot.

    Args:
        path: A local file.
        widths: Bytes of a frame of `rgb` and of `audio`, 0 for none.
    """

    def __init__(self, path: str, widths):
        # Should the other process have closed it, this may be anything.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.file = open(opened, "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise FileNotFoundError(path)
        self.widths = widths
        self.head = self.file.read(tfrecord.HEAD.size)
        self.offset = 0

    def fill(self, slot: memoryview) -> list[tuple]:
        """Reads whole records into a slot, as many as fit.

        Returns:
            For each of them the offset in the file where it ends, and what
            `wire.layout` says.  Without any there is no more.
        """
        array, found, at = np.frombuffer(slot, np.uint8), [], 0
        while len(self.head) == tfrecord.HEAD.size:
            size, check = tfrecord.HEAD.unpack(self.head)
            frame = size + tfrecord.TAIL.size + tfrecord.HEAD.size
            if tfrecord.masked(self.head[:8]) != check:
                break
            if at + frame > len(slot):
                return found
            try:
                read = self.file.readinto(slot[at : at + frame])
            except OSError:
                break
            end = at + size
            if read < size + tfrecord.TAIL.size:
                break
            [check] = tfrecord.TAIL.unpack_from(slot, end)
            if tfrecord.masked(array[at:end]) != check:
                break
            laid = wire.layout(slot, at, end, self.widths)
            if laid is None:
                break
            self.offset += tfrecord.HEAD.size + size + tfrecord.TAIL.size
            found.append((self.offset, *laid))
            self.head = bytes(slot[end + tfrecord.TAIL.size : at + read])
            at = end
        self.head = b""
        self.file.close()
        return found


class Talk:
    """Messages of plain values, to and from another process.

    Raises:
        EOFError, ConnectionError: Where the other has ended.
    """

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, message) -> None:
        content = marshal.dumps(message)
        self.connection.sendall(
            _LENGTH.pack(len(content)) + content,
            socket.MSG_NOSIGNAL,  # an error, whatever SIGPIPE is to do
        )

    def receive(self):
        head = self.file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError
        content = self.file.read(*_LENGTH.unpack(head))
        return marshal.loads(content)  # EOFError as well where it is cut

    def close(self) -> None:
        self.file.close()
        self.connection.close()


def serve(memory: int, connection: int) -> None:
    """Answers what is asked, until the other process ends.

    Asked is `(number, path, widths, slot)`: a shard, and which part of the
    shared memory takes its next records.  Answered is what `Shard.fill`
    returns.  None asks to forget all shards.

    Args:
        memory: Descriptor of the shared memory.
        connection: Descriptor of the socket to talk through.
    """
    gc.disable()  # nothing here refers to itself
    talk = Talk(socket.socket(fileno=connection))
    shards, areas = {}, {}
    try:
        while True:
            asked = talk.receive()
            if asked is None:
                shards.clear()
                continue
            number, path, widths, slot = asked
            try:
                if number not in shards:
                    shards[number] = Shard(path, widths)
                found = shards[number].fill(_slot(memory, areas, slot))
            except OSError:
                found = []
            talk.send(found)
    except (EOFError, ConnectionError):
        pass


def _slot(memory, areas, slot) -> memoryview:
    area, place = divmod(slot, AREA)
    if area not in areas:
        size = AREA * SLOT
        mapped = mmap.mmap(memory, size, offset=area * size)
        areas[area] = memoryview(mapped)
    return areas[area][place * SLOT : (place + 1) * SLOT]
