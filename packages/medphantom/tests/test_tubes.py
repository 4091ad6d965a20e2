"""Tubes on a grid: looked at only in their boxes, they are where a full look finds them."""

import numpy as np
import pytest

from medphantom.anatomy import draw_anatomy
from medphantom.scene import Scene
from medphantom.shapes import Grid, capsule_distance
from medphantom.tubes import Tube, tube_distance

ANATOMY = draw_anatomy(np.random.default_rng(0), sex="F")
GRID = Grid.centred((30, 32, 34), (3.0, 2.0, 2.5))


def _bend(x, y, z):
    return x + 6 * np.sin(y / np.float32(15)), y - 4 * np.cos(z / np.float32(20)), z + np.float32(3)


@pytest.mark.parametrize("warp", [None, _bend])
def test_near_a_tube_the_distance_is_that_of_a_look_at_every_voxel(warp):
    rng = np.random.default_rng(1)
    tubes = [
        Tube(start_mm=tuple(a), end_mm=tuple(b), radii_mm=tuple(r))
        for a, b, r in zip(*(rng.uniform(-45, 45, (20, 3)).tolist() for _ in range(2)), rng.uniform(0.5, 5, (20, 2)).tolist(), strict=True)
    ]
    scene = Scene(ANATOMY, GRID, warp=warp, vessels=tubes)
    points = np.broadcast_arrays(*scene.coordinates())
    ends = ((np.array(t.start_mm, np.float32), np.array(t.end_mm, np.float32), t.radii_mm) for t in tubes)
    everywhere = np.min([capsule_distance(*points, *end) for end in ends], axis=0)
    found = scene.distance("vessel")
    near = everywhere < 2 + GRID.softness_mm - 0.01
    assert near.mean() > 0.1
    assert found[near] == pytest.approx(everywhere[near], abs=1e-4)
    assert (found >= everywhere - 1e-4).all()
    # what is kept cannot be spoilt by who asked for it
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 0] = 0


def test_without_tubes_everything_is_far():
    assert (tube_distance((), Scene(ANATOMY, GRID)) == 1000).all()
