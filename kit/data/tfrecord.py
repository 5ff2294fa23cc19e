"""The framing of a TFRecord file: lengths, records and their checksums.

Run as a program, this is the process that `kit.data.ahead` starts.
"""

import contextlib
import json
import mmap
import os
import signal
import struct
import sys

try:
    import google_crc32c
except ImportError:  # an image without internet may lack it
    google_crc32c = None

HEAD, TAIL = struct.Struct("<QI"), struct.Struct("<I")
ANSWER = struct.Struct("<Q")


class Damage(ValueError):
    """What is wrong with the framing of a file."""


def fast() -> bool:
    """Whether checksums are computed by the processor's instruction."""
    return getattr(google_crc32c, "implementation", None) == "c"


def records(path: str, start: int = 0):
    """Yields the records of a file, local or `gs://`, each checksum verified.

    TensorFlow's packages compute checksums without the instruction that
    processors have for it, which takes longer than all else about a record.
    `google_crc32c` has it, and is used where its compiled form is installed.

    Args:
        start: The byte at which the first record to yield begins.

    Raises:
        Damage: Where the file is cut off or a checksum fails.
        OSError, tf.errors.OpError: Where it cannot be read.
    """
    if not fast():
        yield from _by_tensorflow(path)
    elif "://" not in path:
        with open(path, "rb") as file:
            file.seek(start)
            yield from _unframed(file, os.fstat(file.fileno()).st_size - start)
    else:
        import tensorflow as tf

        with tf.io.gfile.GFile(path, "rb") as file:
            yield from _unframed(file, file.size())


def _unframed(file, left):
    """The records of the `left` bytes of an open file that are to come."""
    if not left and file.tell() == 0:
        raise Damage("the file is empty")
    head = file.read(HEAD.size)
    while head:
        if len(head) < HEAD.size:
            raise Damage("it ends inside the length of a record")
        size, check = HEAD.unpack(head)
        if _masked(head[:8]) != check:
            raise Damage("the checksum of a length is wrong")
        left -= HEAD.size + size + TAIL.size
        if left < 0:  # of a wrong size, however much memory it would take
            raise Damage("it ends inside a record")
        content = file.read(size)
        # One call for what ends this record and what begins the next.
        rest = file.read(TAIL.size + HEAD.size)
        if len(content) < size or len(rest) < TAIL.size:
            raise Damage("it ends inside a record")
        if _masked(content) != TAIL.unpack_from(rest)[0]:
            raise Damage("the checksum of a record is wrong")
        yield content
        head = rest[TAIL.size :]


def _masked(content: bytes) -> int:
    """CRC32C as TFRecord writes it: rotated, and a constant added."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _by_tensorflow(path):
    import tensorflow as tf

    # This costs less than `TFRecordDataset`, which copies each record once
    # more, and says where in which file it stopped.  A thread that reads ahead
    # is slower: the two wait for Python's lock more than they gain.
    # Unwrapped, it does not print its deprecation.
    read = tf.compat.v1.io.tf_record_iterator.__wrapped__
    size = 0
    try:
        for content in read(path):
            yield content
            size += len(content) + HEAD.size + TAIL.size
    except tf.errors.DataLossError as error:
        raise Damage(error.message) from None
    found = tf.io.gfile.stat(path).length
    if found == 0:
        raise Damage("the file is empty")
    if size != found:
        # The reader takes a cut in the first bytes of a record for the end.
        raise Damage(f"{found - size} bytes are left over")


def _serve(shared: int) -> None:
    """Fills memory with records for whoever asks on the standard input.

    A request is a line of JSON: where in the memory, how many bytes, the
    number of a file and its path.  The answer is the size of the whole, good
    records that were read there, going on from the request before for that
    file; 0 where there are none, and to every later request for it.
    """
    import numpy as np

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other
    memory = np.frombuffer(mmap.mmap(shared, 0), np.uint8)
    opened, ended = {}, set()
    for line in sys.stdin.buffer:
        start, size, number, path = json.loads(line)
        good = 0
        if number not in ended:
            with contextlib.suppress(OSError):
                if number not in opened:
                    opened[number] = open(path, "rb", buffering=0)
                good = _fill(opened[number], memory[start : start + size])
        if not good:
            ended.add(number)
            if number in opened:
                opened.pop(number).close()
        os.write(sys.stdout.fileno(), ANSWER.pack(good))


def _fill(file, chunk) -> int:
    """Reads whole records into `chunk` as long as they are good: their size."""
    size, at = file.readinto(chunk), 0
    while at + HEAD.size <= size:
        length, check = HEAD.unpack_from(chunk, at)
        last = at + HEAD.size + length
        if (
            last + TAIL.size > size
            or _masked(chunk[at : at + 8]) != check
            or _masked(chunk[at + HEAD.size : last])
            != TAIL.unpack_from(chunk, last)[0]
        ):
            break
        at = last + TAIL.size
    file.seek(at - size, os.SEEK_CUR)
    return at


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the other has ended
        _serve(int(sys.argv[1]))
