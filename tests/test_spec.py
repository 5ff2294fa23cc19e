import dataclasses

import pytest

from kit.spec import YOUTUBE_8M, FrameSpec


def test_the_defaults_are_those_of_youtube_8m():
    sizes = {"rgb": 1024, "audio": 128, "max_frames": 300, "segment_frames": 5}
    assert vars(YOUTUBE_8M) == sizes and YOUTUBE_8M.dim == 1152


def test_other_features_change_the_numbers_only():
    clip = FrameSpec(rgb=512, audio=0, max_frames=90, segment_frames=3)
    assert clip.dim == 512
    assert FrameSpec(**dataclasses.asdict(clip)) == clip
    assert len({clip, FrameSpec(512, 0, 90, 3), FrameSpec()}) == 2


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"rgb": -1}, "rgb=-1"),
        ({"rgb": 0, "audio": 0}, "rgb=0, audio=0"),
        ({"rgb": 10.0}, "rgb=10.0"),
        ({"max_frames": 0}, "max_frames=0"),
        ({"segment_frames": 0}, "segment_frames=0"),
        ({"max_frames": 4}, "segment_frames=5, max_frames=4"),
    ],
)
def test_sizes_that_make_no_frame_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        FrameSpec(**numbers)
