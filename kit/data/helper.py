"""The process that reads ahead: what it does, see `kit.data.ahead`.

It knows good records alone.  Where one is not as every known writer makes it,
or a checksum is wrong, it stops before that record, and the process it works
for reads on and says what is the matter.
"""

import gc
import marshal
import mmap
import struct
import sys

import numpy as np

from kit.data import tfrecord, wire

_LENGTH = struct.Struct("<Q")
SLOT = 2 * 2**20  # bytes: records of one answer


class Shard:
    """A shard that is read slot by slot.

    Args:
        path: A local file.
        widths: Bytes of a frame of `rgb` and of `audio`, 0 for none.
    """

    def __init__(self, path: str, widths):
        self.file = open(path, "rb", buffering=0)
        self.widths = widths
        self.head = self.file.read(tfrecord.HEAD.size)
        self.offset = 0

    def fill(self, slot: memoryview):
        """Reads whole records into a slot, as many as fit.

        Returns:
            For each of them what `wire.layout` says, and the offset in the
            file of the record after them.  Without any there is no more.
        """
        array, found, at = np.frombuffer(slot, np.uint8), [], 0
        while len(self.head) == tfrecord.HEAD.size:
            size, check = tfrecord.HEAD.unpack(self.head)
            frame = size + tfrecord.TAIL.size + tfrecord.HEAD.size
            if tfrecord.masked(self.head[:8]) != check:
                break
            if at + frame > len(slot):
                return found, self.offset
            read = self.file.readinto(slot[at : at + frame])
            end = at + size
            if read < size + tfrecord.TAIL.size:
                break
            [check] = tfrecord.TAIL.unpack_from(slot, end)
            if tfrecord.masked(array[at:end]) != check:
                break
            laid = wire.layout(slot, at, end, self.widths)
            if laid is None:
                break
            found.append(laid)
            self.head = bytes(slot[end + tfrecord.TAIL.size : at + read])
            self.offset += size + tfrecord.HEAD.size + tfrecord.TAIL.size
            at = end
        self.head = b""
        self.file.close()
        return found, self.offset


def send(file, message) -> None:
    """Writes a message of plain values."""
    content = marshal.dumps(message)
    file.write(_LENGTH.pack(len(content)) + content)
    file.flush()


def receive(file):
    """Reads a message.

    Raises:
        EOFError: Where there is none.
    """
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    content = file.read(*_LENGTH.unpack(head))
    return marshal.loads(content)  # EOFError as well where it is cut


def serve(memory: int) -> None:
    """Answers what is asked on standard input, until it is closed.

    Asked is `(number, path, widths, slot)`: a shard, and which part of the
    shared memory takes its next records.  Answered is what `Shard.fill`
    returns.  None asks to forget all shards.

    Args:
        memory: Descriptor of the shared memory.
    """
    gc.disable()  # nothing here refers to itself
    shards, slots = {}, {}
    while True:
        try:
            asked = receive(sys.stdin.buffer)
        except EOFError:
            return
        if asked is None:
            shards.clear()
            continue
        number, path, widths, slot = asked
        if slot not in slots:
            mapped = mmap.mmap(memory, SLOT, offset=slot * SLOT)
            slots[slot] = memoryview(mapped)
        try:
            if number not in shards:
                shards[number] = Shard(path, widths)
            found = shards[number].fill(slots[slot])
        except OSError:
            found = [], shards[number].offset if number in shards else 0
        send(sys.stdout.buffer, found)
