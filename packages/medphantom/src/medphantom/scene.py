"""A scene: an anatomy on a grid, painted layer by layer with tissues, and looked at by CT or MR."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.errors import PhantomError
from medphantom.labels import BASIC_CLASSES, CLASSES, LOBE_CLASSES, SEE_THROUGH
from medphantom.materials import AIR, Material
from medphantom.mr import MRContrast
from medphantom.organs.distances import ORGANS, check_organ, place
from medphantom.organs.place import Place
from medphantom.shapes import Field, Grid, Region, blend, occupancy
from medphantom.texture import Lattice
from medphantom.tubes import Tube, tube_distance

Warp = Callable[[Field, Field, Field], tuple[Field, Field, Field]]
"""Maps (x, y, z) mm of a visit's patient frame to the anatomy's frame, where the patient has moved or breathes."""

ALL: Region = (slice(None), slice(None), slice(None))
"""The region of every voxel."""
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Start and stop of a region along (z, y, x)."""
_KEPT_SHARE = 4  # distances of regions larger than a fourth of the grid are kept
_MR_TEXTURE = 0.004  # relative signal change for each HU of a material's texture


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One coat of paint: how much of each voxel of a region a material fills, over what was painted before.

    Attributes:
        share: in [0, 1], of the region's shape.
        material: what fills it.
        region: box of voxels.
        label: class of voxels of which more than half is filled, or None to leave their class.
        hu: HU at each voxel where they differ from the material's, or None.
    """

    share: Field
    material: Material
    region: Region
    label: str | None
    hu: Field | float | None


class Scene:
    """What lies where in one visit of one patient.

    Coordinates are mm of the anatomy's frame: x to the left, y to posterior, z to superior; arrays run (z, y, x).
    A scanner sees the patient at these coordinates plus `anatomy.table_mm` (LPS).

    Args:
        anatomy: the thorax.
        grid: the voxels; their coordinates are the visit's patient frame.
        warp: from the visit's patient frame to the anatomy's, or None where they are the same. Must be smooth.
        texture: the tissues' unevenness, or None for even tissues.
        vessels: tubes of the lungs' vessels, anatomy frame.
        airways: tubes of the airways' lumen, anatomy frame.

    Attributes:
        anatomy: as given.
        grid: as given.
        layers: what was painted so far, first to last.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        grid: Grid,
        *,
        warp: Warp | None = None,
        texture: Lattice | None = None,
        vessels: Sequence[Tube] = (),
        airways: Sequence[Tube] = (),
    ) -> None:
        self.anatomy, self.grid = anatomy, grid
        self.layers: list[Layer] = []
        self._warp, self._lattice = warp, texture
        self._tubes = {"vessel": tuple(vessels), "airway": tuple(airways)}
        self._places: dict[Box, Place] = {}
        self._texture: Field | None = None
        self._found: dict[str, Field] = {}
        self._moved: tuple[Field, Field, Field] | None = None
        self._reach = np.zeros((2, 3), np.float32)
        if warp is not None:
            x, y, z = np.broadcast_arrays(*grid.axes())
            moved = warp(x, y, z)
            self._moved = tuple(np.asarray(np.broadcast_to(c, grid.shape), np.float32) for c in moved)  # type: ignore[assignment]
            shift = [new - old for new, old in zip(moved, (x, y, z), strict=True)]
            self._reach = np.array([[s.min() for s in shift], [s.max() for s in shift]], np.float32)

    @property
    def softness_mm(self) -> float:
        """Width of the ramp across a surface: the side of a cube as large as a voxel."""
        return self.grid.softness_mm

    def coordinates(self, region: Region = ALL) -> tuple[Field, Field, Field]:
        """Give (x, y, z) mm in the anatomy's frame at a region's voxels; they broadcast to its shape and are not to be written to."""
        if self._moved is None:
            return self.grid.axes(region)
        x, y, z = self._moved
        return x[region], y[region], z[region]

    def region(self, low: npt.ArrayLike, high: npt.ArrayLike) -> Region:
        """Find a box of voxels that holds all whose anatomy-frame coordinates lie between two corners (x, y, z) in mm; may be empty."""
        (z0, z1), (y0, y1), (x0, x1) = self.bounds(np.atleast_2d(low), np.atleast_2d(high))[0].tolist()
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)

    def bounds(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Find many such boxes at once: corners (n, 3) in (x, y, z) mm to starts and stops (n, 3, 2) along (z, y, x)."""
        # anatomy = patient + shift, and the shift lies within the reach: patient lies between low - max shift and high - min shift
        return self.grid.bounds(np.asarray(low, np.float32) - self._reach[1], np.asarray(high, np.float32) - self._reach[0])

    def shape(self, region: Region = ALL) -> tuple[int, int, int]:
        """Count the voxels of a region along (z, y, x)."""
        return _size(self._box(region))

    def distance(self, name: str, region: Region = ALL) -> Field:
        """Find the distance from a region's voxels to an organ.

        Args:
            name: one of `ORGANS`, or `vessel` or `airway` for all tubes of these.
            region: box of voxels. What is found for large ones is kept, and serves all within them.

        Returns:
            mm, negative inside, float32 of the region's shape; not to be written to. The sign is exact; the size is right near the surface.
            Far from a tube (beyond a voxel or two) it is just large.

        Raises:
            PhantomError: for an unknown name.
        """
        if name in self._tubes:
            if name not in self._found:
                self._found[name] = _frozen(tube_distance(self._tubes[name], self))
            return self._found[name][region]
        check_organ(name, {**ORGANS, **self._tubes})
        return np.broadcast_to(self.place(region).distance(name), self.shape(region))

    def place(self, region: Region = ALL) -> Place:
        """Stand at a region's voxels to ask for several organs there, which share what was found; large regions are remembered by the scene."""
        box = self._box(region)
        if box in self._places:
            return self._places[box]
        here = place(self.anatomy, *self.coordinates(region))
        for known, at in self._places.items():
            if all(a <= c and d <= b for (a, b), (c, d) in zip(known, box, strict=True)):
                within = tuple(slice(c - a, d - a) for (a, _), (c, d) in zip(known, box, strict=True))
                here.found.update({name: np.broadcast_to(found, _size(known))[within] for name, found in at.found.items()})
        if _KEPT_SHARE * math.prod(_size(box)) >= math.prod(self.grid.shape):
            self._places[box] = here
        return here

    def share(self, name: str, region: Region = ALL) -> Field:
        """Find the share in [0, 1] of each voxel of a region that lies inside an organ; a new array."""
        return self.cover(self.distance(name, region))

    def cover(self, distance: Field) -> Field:
        """Turn distances in mm (negative inside) into shares of a voxel in [0, 1]; a new array."""
        return occupancy(distance, self.softness_mm)

    def texture(self, region: Region = ALL) -> Field | float:
        """Give the tissues' unevenness at a region's voxels, about N(0, 1); it moves with the tissue. 0 where the scene was given none."""
        if self._lattice is None:
            return 0.0
        if self._texture is None:
            self._texture = self._lattice.at(*self.coordinates())
        return self._texture[region]

    def paint(
        self, share: Field, material: Material, region: Region = ALL, label: str | None = None, *, hu: Field | float | None = None
    ) -> None:
        """Add a layer over what was painted before.

        Args:
            share: in [0, 1], the share of each voxel of the region that the material fills; kept, not copied: do not write to it afterwards.
            material: what fills it.
            region: box of voxels.
            label: one of `CLASSES`: voxels of which more than half is filled take this class. None leaves their class.
            hu: attenuation where it is not the material's: one number, or one for each voxel of the region. Takes the place of its texture too.

        Raises:
            PhantomError: for a share of another shape than the region's, or an unknown label.
        """
        if share.shape != self.shape(region):
            raise PhantomError(
                f"paint {material.name}: share has shape {share.shape}, its region {self.shape(region)}; evaluate it on the region's coordinates"
            )
        if label is not None and label not in CLASSES:
            raise PhantomError(f"paint {material.name}: there is no class {label!r}; use one of {', '.join(CLASSES[1:])}")
        self.layers.append(Layer(share, material, region, label, hu))

    def _box(self, region: Region) -> Box:
        """Start and stop along each axis."""
        (z0, z1, _), (y0, y1, _), (x0, x1, _) = (s.indices(n) for s, n in zip(region, self.grid.shape, strict=True))
        return (z0, max(z0, z1)), (y0, max(y0, y1)), (x0, max(x0, x1))

    def labels(self, kind: Literal["basic", "full"] = "full") -> npt.NDArray[np.uint8]:
        """Give the class of each voxel: that of the last layer with a label that fills more than half of it.

        Args:
            kind: `full` for `CLASSES`; `basic` for the first seven, where a diseased or airy part of the lung is still lung
                and everything else without a basic class is background.

        Returns:
            (D, H, W) uint8.
        """
        labels = np.zeros(self.grid.shape, np.uint8)
        blank = True
        for layer in self.layers:
            if layer.label is None:
                continue
            if kind == "full" or layer.label in BASIC_CLASSES:
                value = CLASSES.index(layer.label)
            elif layer.label in SEE_THROUGH or blank:
                continue
            else:
                value = 0
            blank = False
            np.copyto(labels[layer.region], np.uint8(value), where=layer.share > 0.5)
        return labels

    def lobes(self) -> npt.NDArray[np.uint8]:
        """Give the lobe of each voxel whose centre lies in a lung, vessels and lesions included.

        Returns:
            (D, H, W) uint8, values index `LOBE_CLASSES`: 0 outside the lungs, then `LOBES`.
        """
        lobes = np.zeros(self.grid.shape, np.uint8)
        value = {name: np.uint8(number) for number, name in enumerate(LOBE_CLASSES)}
        chest = self.anatomy.chest
        low = (-chest.half_width, chest.center_y - chest.half_depth, -math.inf)
        region = self.region(low, (chest.half_width, chest.center_y + chest.half_depth, chest.apex_z))
        at = self.place(region)
        upper = np.where(at.distance("fissure_horizontal") < 0, value["right_middle"], value["right_upper"])
        right = np.where(at.distance("fissure_right") < 0, value["right_lower"], upper)
        left = np.where(at.distance("fissure_left") < 0, value["left_lower"], value["left_upper"])
        np.copyto(lobes[region], np.where(at.x > 0, left, right), where=at.distance("lung") < 0)
        return lobes


def render(scene: Scene, contrast: Literal["ct"] | MRContrast = "ct") -> Field:
    """Look at a scene without noise.

    Args:
        scene: what was painted.
        contrast: `ct` for HU, or an MR sequence for its signal.

    Returns:
        (D, H, W) float32: HU, or the share of fully relaxed water's signal. Where materials share a voxel the value is linear in their shares.
    """
    if contrast == "ct":
        picture = np.full(scene.grid.shape, AIR.hu, np.float32)
        for layer in scene.layers:
            blend(picture[layer.region], layer.share, _hu(scene, layer))
        return picture
    picture = np.zeros(scene.grid.shape, np.float32)
    for layer in scene.layers:
        blend(picture[layer.region], layer.share, _signal(scene, layer, contrast))
    return np.maximum(picture, 0, out=picture)


def _hu(scene: Scene, layer: Layer) -> Field | float:
    if layer.hu is not None:
        return layer.hu
    if not layer.material.texture:
        return layer.material.hu
    return np.asarray(scene.texture(layer.region) * np.float32(layer.material.texture) + np.float32(layer.material.hu), np.float32)


def _signal(scene: Scene, layer: Layer, contrast: MRContrast) -> Field | float:
    signal = contrast.signal(layer.material)
    if not layer.material.texture:
        return signal
    uneven = np.float32(signal * _MR_TEXTURE * layer.material.texture)
    return np.asarray(scene.texture(layer.region) * uneven + np.float32(signal), np.float32)


def _size(box: Box) -> tuple[int, int, int]:
    (z0, z1), (y0, y1), (x0, x1) = box
    return z1 - z0, y1 - y0, x1 - x0


def _frozen(field: Field) -> Field:
    field.flags.writeable = False
    return field
