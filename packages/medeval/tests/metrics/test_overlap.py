import math

import numpy as np
import pytest

from medeval import ShapeError, dice


def test_dice_of_two_overlapping_bars_is_twice_the_overlap_over_both():
    # 6 and 4 voxels, 3 shared: 2 * 3 / 10
    prediction, reference = np.zeros(12), np.zeros(12)
    prediction[0:6], reference[3:7] = 1, 1
    assert dice(prediction, reference) == pytest.approx(0.6)


def test_dice_with_one_empty_mask_is_0_and_with_two_is_undefined():
    full, empty = np.ones((3, 3)), np.zeros((3, 3))
    assert dice(empty, full) == 0
    assert dice(full, empty) == 0
    assert math.isnan(dice(empty, empty))


def test_masks_of_two_shapes_are_refused_instead_of_broadcast():
    with pytest.raises(ShapeError, match=r"\(3, 3\) and reference \(1, 3\)"):
        dice(np.ones((3, 3)), np.ones((1, 3)))
