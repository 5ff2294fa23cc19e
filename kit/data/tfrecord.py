"""The framing of a TFRecord file: lengths, records and their checksums."""

import os
import struct

try:
    import google_crc32c
except ImportError:  # an image without internet may lack it
    google_crc32c = None

HEAD, TAIL = struct.Struct("<QI"), struct.Struct("<I")


class Damage(ValueError):
    """What is wrong with the framing of a file."""


def fast() -> bool:
    """Whether checksums are computed by the processor's own instruction."""
    return getattr(google_crc32c, "implementation", None) == "c"


def records(path: str):
    """Yields the records of a file, local or `gs://`, each checksum verified.

    TensorFlow's packages compute checksums without the instruction that
    processors have for it, which takes longer than all else about a record.
    `google_crc32c` has it, and is used where its compiled form is installed.

    Raises:
        Damage: Where the file is cut off or a checksum fails.
        OSError, tf.errors.OpError: Where it cannot be read.
    """
    if not fast():
        yield from _by_tensorflow(path)
    elif "://" not in path:
        with open(path, "rb") as file:
            yield from rest(file, 0)
    else:
        import tensorflow as tf

        with tf.io.gfile.GFile(path, "rb") as file:
            yield from _unframed(file, file.size())


def rest(file, offset: int):
    """The records of an open local file from the one at `offset` on."""
    left = os.fstat(file.fileno()).st_size - file.seek(offset)
    if not offset or left > 0:
        yield from _unframed(file, left)


def _unframed(file, left):
    """The records of an open file of so many bytes."""
    if not left:
        raise Damage("the file is empty")
    head = file.read(HEAD.size)
    while head:
        if len(head) < HEAD.size:
            raise Damage("it ends inside the length of a record")
        size, check = HEAD.unpack(head)
        if masked(head[:8]) != check:
            raise Damage("the checksum of a length is wrong")
        left -= HEAD.size + size + TAIL.size
        if left < 0:  # of a wrong size, however much memory it would take
            raise Damage("it ends inside a record")
        content = file.read(size)
        # One call for what ends this record and what begins the next.
        rest = file.read(TAIL.size + HEAD.size)
        if len(content) < size or len(rest) < TAIL.size:
            raise Damage("it ends inside a record")
        if masked(content) != TAIL.unpack_from(rest)[0]:
            raise Damage("the checksum of a record is wrong")
        yield content
        head = rest[TAIL.size :]


def masked(content: bytes) -> int:
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
