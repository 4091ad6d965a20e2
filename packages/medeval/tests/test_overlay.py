import io

import matplotlib.image
import numpy as np
import pytest

from medeval import ShapeError, ValueRangeError, overlay


def pixels(data: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(data))[..., :3]


def coloured(picture: np.ndarray) -> np.ndarray:
    """(H, W) where the picture is not grey."""
    return np.ptp(picture, axis=-1) > 0.2


def test_contours_lie_around_the_structure_row_0_on_top():
    mask = np.zeros((20, 20), dtype=int)
    mask[2:6, 10:18] = 1  # near the top, to the right
    found = np.argwhere(coloured(pixels(overlay(np.zeros((20, 20)), mask, pixels=400))))
    low, high = found.min(axis=0) / 20, found.max(axis=0) / 20  # 20 pixels a voxel
    np.testing.assert_allclose([*low, *high], [2, 10, 6, 18], atol=0.35)


def test_the_picture_keeps_the_patients_proportions():
    height, width = pixels(overlay(np.zeros((10, 40)), np.zeros((10, 40), dtype=int), spacing=(4.0, 2.0), pixels=400)).shape[:2]
    assert width / height == pytest.approx(2, rel=0.02)  # 80 mm by 40 mm


def test_prediction_and_reference_are_told_apart_and_classes_by_colour():
    mask = np.zeros((30, 30), dtype=int)
    mask[5:25, 5:25] = 1
    image = np.zeros((30, 30))
    solid = coloured(pixels(overlay(image, mask))).sum()
    dashed = coloured(pixels(overlay(image, np.zeros_like(mask), mask))).sum()
    assert 0.4 * solid < dashed < 0.85 * solid
    first, second = (pixels(overlay(image, mask * k)) for k in (1, 2))
    assert not np.allclose(first[coloured(first)].mean(axis=0), second[coloured(second)].mean(axis=0), atol=0.1)


def test_an_image_of_one_value_is_drawn_without_warning(recwarn):
    overlay(np.full((5, 5), -1000.0), np.zeros((5, 5), dtype=int))
    assert not recwarn.list


def test_slices_that_do_not_match_are_refused():
    with pytest.raises(ShapeError, match=r"image \(5, 5\) and mask \(5, 6\)"):
        overlay(np.zeros((5, 5)), np.zeros((5, 6)))
    with pytest.raises(ShapeError, match="row, column"):
        overlay(np.zeros((5, 5)), np.zeros((5, 5)), spacing=(1, 1, 1))
    with pytest.raises(ValueRangeError, match="positive"):
        overlay(np.zeros((5, 5)), np.zeros((5, 5)), spacing=(1, 0))
