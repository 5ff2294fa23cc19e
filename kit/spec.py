"""The numbers of frames and targets: the one place where they stand."""

from dataclasses import dataclass, fields

# What a byte stands for: YouTube-8M spreads [-2, 2] over it and adds half a
# step of its own, so that the byte 0 stands for -1.9921875.
SCALE = 4 / 255
OFFSET = 4 / 512 - 2

# What targets hold, beside 1 yes and 0 no, of a class that nobody rated in a
# segment: whether a label of its video holds there is open, but any other class
# hardly does.  Such *mined negatives* may count a little.
UNRATED, MINED = -1, -2


@dataclass(frozen=True)
class FrameSpec:
    """What one frame, one video and one segment look like.

    The defaults are those of YouTube-8M: a frame a second, 1,024 visual and
    128 audio features of one byte each, at most 300 frames a video, segments
    of five frames.  Other features (CLIP, 512-d) change these numbers and no
    code.

    Args:
        rgb: Visual features a frame; 0 where there are none.
        audio: Audio features a frame; 0 where there are none.
        max_frames: The most frames a video can have.
        segment_frames: Frames in a segment.  Segments start at multiples of
            this number.

    Raises:
        ValueError: Where a number is negative, or a frame, video or segment
            would be empty.
    """

    rgb: int = 1024
    audio: int = 128
    max_frames: int = 300
    segment_frames: int = 5

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            smallest = 0 if field.name in ("rgb", "audio") else 1
            if not isinstance(value, int) or value < smallest:
                raise ValueError(
                    f"`{field.name}` must be a whole number of at least "
                    f"{smallest}. Received: {field.name}={value!r}"
                )
        if self.dim == 0:
            raise ValueError(
                "A frame needs features: give `rgb`, `audio` or both a "
                f"positive size. Received: rgb={self.rgb}, audio={self.audio}"
            )
        if self.segment_frames > self.max_frames:
            raise ValueError(
                "A segment cannot be longer than a video: lower one or raise "
                f"the other. Received: segment_frames={self.segment_frames}, "
                f"max_frames={self.max_frames}"
            )

    @property
    def dim(self) -> int:
        """Bytes of a frame: visual and audio features side by side."""
        return self.rgb + self.audio


YOUTUBE_8M = FrameSpec()
