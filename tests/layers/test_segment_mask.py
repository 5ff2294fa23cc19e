import numpy as np

from kit.layers import SegmentMask
from tests.layers.contract import check_config, numpy


def test_only_real_frames_of_the_segment_are_left():
    mask = np.array([[1] * 7, [0, 0, 0, 1, 1, 1, 1]], bool)
    inside = numpy(SegmentMask(2)(mask))
    assert inside.dtype == bool
    assert inside.tolist() == [[0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0]]
    check_config(SegmentMask(2), mask)
