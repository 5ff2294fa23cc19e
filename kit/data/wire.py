"""Where the frames are in a serialized `tf.train.SequenceExample`.

Protobuf copies each frame of a record into an object of its own, 600 a video.
But every known writer lays frames out at a fixed distance, so that they can be
viewed in place.  A record laid out otherwise takes the way through protobuf.
"""

import functools

import numpy as np

_UNUSUAL = (IndexError, KeyError, ValueError)


def contents(record: bytes):
    """The context of a record, and where each of its feature lists is.

    Returns:
        The context as a protobuf map, and a dict from the name of a list to
        `(buffer, start, end)`, its serialized frames.

    Raises:
        google.protobuf.message.DecodeError: Where it is no such message.
    """
    try:
        context, blocks = _blocks(record, 0, len(record))
        blocks = {name: (record, *at) for name, at in blocks.items()}
    except _UNUSUAL:
        example = _messages()[1].FromString(record)
        blocks = {}
        for name, frames in example.feature_lists.feature_list.items():
            content = frames.SerializeToString()
            blocks[name] = (content, 0, len(content))
        return example.context.feature, blocks
    return features(context), blocks


def layout(buffer, start: int, end: int, widths):
    """Where in a buffer the frames of a record from `start` to `end` are.

    Args:
        widths: Bytes of a frame of `rgb` and of `audio`, 0 for none.

    Returns:
        The serialized context, and of each feature what `frames` takes, or
        None where it has no width; or None, where the record is not laid out
        as usual.
    """
    found = [None, None]
    try:
        context, blocks = _blocks(buffer, start, end)
        for at, name in enumerate(("rgb", "audio")):
            if widths[at]:
                found[at] = _frames(buffer, *blocks[name], widths[at])
                if found[at] is None:
                    return None
    except _UNUSUAL:
        return None
    return context, *found


def features(context: bytes):
    """A serialized context as a protobuf map.

    Raises:
        google.protobuf.message.DecodeError: Where it is no such message.
    """
    return _messages()[0].FromString(context).feature


@functools.cache
def decode_error():
    """The error of a message that is none."""
    from google.protobuf.message import DecodeError

    return DecodeError


@functools.cache
def _messages():
    # Found once: TensorFlow looks its names up anew each time.
    import tensorflow as tf

    return tf.train.Features, tf.train.SequenceExample


def view(buffer, start: int, end: int, width: int):
    """The frames, uint8 `(T, width)`, where each is `width` bytes as usual;
    else None."""
    found = _frames(buffer, start, end, width)
    return None if found is None else frames(buffer, *found)


def frames(buffer, start: int, count: int, width: int) -> np.ndarray:
    """The frames of which the first begins at `start`, uint8 `(T, width)`."""
    stride = len(_header(width)) + width
    return np.ndarray((count, width), np.uint8, buffer, start, (stride, 1))


def _frames(buffer, start, end, width):
    """Where the first frame begins, how many there are, and their width."""
    header = _header(width)
    stride = len(header) + width
    count, left = divmod(end - start, stride)
    if left or not count:
        return None
    shape, strides = (count, len(header)), (stride, 1)
    headers = np.ndarray(shape, np.uint8, buffer, start, strides)
    if headers.tobytes() != header * count:
        return None
    return start + len(header), count, width


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


def _blocks(buffer, start, end):
    """The serialized context, and from where to where each list is."""
    context, lists = _pair(buffer, start, end)
    blocks = {}
    for number, *entry in _fields(buffer, *lists):
        key, here = _pair(buffer, *entry)
        name = bytes(buffer[slice(*key)]).decode()
        if number != 1 or name in blocks:
            raise KeyError(name)
        blocks[name] = here
    return bytes(buffer[slice(*context)]), blocks


def _pair(buffer, at, end):
    """Ranges of the fields 1 and 2 of a message with each once."""
    first, second = sorted(_fields(buffer, at, end))
    if first[0] == second[0]:
        raise IndexError(at)
    return first[1:], second[1:]


def _fields(buffer, at, end):
    """Number, start and end of each field of a message."""
    found = []
    while at < end:
        tag, size = buffer[at], buffer[at + 1]
        at, shift = at + 2, 7
        while size >> shift:  # the highest bit says that seven more follow
            size += (buffer[at] - 1) << shift
            at, shift = at + 1, shift + 7
        # Of the fields 1 and 2, with a length.
        if tag not in (10, 18) or at + size > end:
            raise IndexError(at)
        found.append((tag >> 3, at, at + size))
        at += size
    return found
