"""The grid of panels: places, proportions, outlines."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.show.drawing import Panel, draw_grid, grey_window, outline


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_the_outline_is_what_scipy_erodes_from_each_label(seed, height, width):
    mask = np.random.default_rng(seed).integers(0, 3, (height, width))
    cross = ndimage.generate_binary_structure(2, 1)
    expected = np.zeros(mask.shape, bool)
    for label in (1, 2):
        expected |= (mask == label) & ~ndimage.binary_erosion(mask == label, cross)
    assert np.array_equal(outline(mask), expected)


def test_pixels_are_square_in_millimetres_and_the_head_is_up():
    image = np.zeros((10, 20, 40), np.float32)
    image[-1] = 1.0  # the topmost slice
    grid = np.asarray(draw_grid([Panel(image=image, spacing=(4.0, 1.0, 1.0), title="", window=(0, 1))], size=80))
    # cell at (4, 4), title 14 high: axial 40 x 80, then coronal (z 40 mm, x 40 mm) 80 x 80 after 2 pixels, then sagittal (z 40, y 20) 80 x 40
    assert grid.shape == (4 + 14 + 80 + 4, 4 + 80 + 2 + 80 + 2 + 40 + 4, 3)
    coronal = grid[18:98, 86:166]
    assert (coronal[:4] > 250).all()
    assert (coronal[16:] == 0).all()


def test_a_label_is_outlined_where_it_lies():
    image, mask = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.int64)
    mask[5:15, 5:15] = 1
    grid = np.asarray(draw_grid([Panel(image=image, mask=mask, spacing=(1.0, 1.0), title="", window=(0, 1))], size=20))
    red = grid[18:38, 4:24, 0] == 230
    assert np.array_equal(red, outline(mask))


def test_the_window_spans_the_middle_of_the_values_and_is_never_empty():
    low, high = grey_window([np.linspace(0, 100, 1001)])
    assert abs(low - 1) < 1e-9
    assert abs(high - 99.5) < 1e-9
    assert grey_window([np.full(9, 3.0)]) == (3.0, 4.0)
