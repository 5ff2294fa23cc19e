"""Where the frames are in a serialized `tf.train.SequenceExample`.

Protobuf copies each frame of a record into an object of its own, 600 a video.
But every known writer lays frames out at a fixed distance, so that they can be
viewed in place.  A record laid out otherwise takes the way through protobuf.
"""

import functools

import numpy as np


def contents(record: bytes):
    """The context of a record, and where each of its feature lists is.

    Returns:
        The context as a protobuf map, and a dict from the name of a list to
        `(buffer, start, end)`, its serialized frames.

    Raises:
        google.protobuf.message.DecodeError: Where it is no such message.
    """
    features, sequence_example = _messages()
    try:
        top = _fields(record, 0, len(record))
        blocks = {}
        for entry in _repeated(record, *top[2]):
            pair = _fields(record, *entry)
            name = record[slice(*pair[1])].decode()
            if name in blocks:
                raise KeyError(name)
            blocks[name] = (record, *pair[2])
        context = record[slice(*top[1])]
    except (IndexError, KeyError, UnicodeDecodeError):
        example = sequence_example.FromString(record)
        blocks = {}
        for name, frames in example.feature_lists.feature_list.items():
            content = frames.SerializeToString()
            blocks[name] = (content, 0, len(content))
        return example.context.feature, blocks
    return features.FromString(context).feature, blocks


@functools.cache
def _messages():
    # Found once: TensorFlow looks its names up anew each time.
    import tensorflow as tf

    return tf.train.Features, tf.train.SequenceExample


def view(buffer: bytes, start: int, end: int, width: int):
    """The frames, uint8 `(T, width)`, where each is `width` bytes as usual;
    else None."""
    header = _header(width)
    stride = len(header) + width
    count, left = divmod(end - start, stride)

    def columns(size, skip):
        return np.ndarray(
            (count, size), np.uint8, buffer, start + skip, (stride, 1)
        )

    if left or not count:
        return None
    if columns(len(header), 0).tobytes() != header * count:
        return None
    return columns(width, len(header))


def values(buffer: bytes, start: int, end: int) -> list[list[bytes]]:
    """The byte strings of each frame, of whatever size and number."""
    import tensorflow as tf

    frames = tf.train.FeatureList.FromString(buffer[start:end]).feature
    return [list(frame.bytes_list.value) for frame in frames]


@functools.cache
def _header(width: int) -> bytes:
    """What stands before each frame: `Feature.bytes_list.value`, three
    lengths inside one another, each after the tag of field 1."""
    header = b""
    for _ in range(3):
        number, size = width + len(header), bytearray()
        while number > 127:
            size.append(number & 127 | 128)
            number >>= 7
        header = b"\n" + bytes([*size, number]) + header
    return header


def _repeated(buffer, at, end):
    """Ranges of the field 1 of a message that holds nothing else."""
    while at < end:
        number, start, at = _field(buffer, at, end)
        if number != 1:
            raise IndexError(number)
        yield start, at


def _fields(buffer, at, end):
    """Field number -> range, of a message with each field once."""
    found = {}
    while at < end:
        number, start, at = _field(buffer, at, end)
        if number in found:
            raise IndexError(number)
        found[number] = (start, at)
    return found


def _field(buffer, at, end):
    """The length-delimited field at `at`: its number, start and end."""
    tag, size = buffer[at], buffer[at + 1]
    at, shift = at + 2, 7
    while size >> shift:  # the highest bit says that seven more follow
        size += (buffer[at] - 1) << shift
        at, shift = at + 1, shift + 7
    if tag not in (10, 18) or at + size > end:  # fields 1 and 2, with a length
        raise IndexError(at)
    return tag >> 3, at, at + size
