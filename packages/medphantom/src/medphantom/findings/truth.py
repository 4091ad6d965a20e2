"""What is true of a finding on one grid: where it is, how large, and what it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medphantom.shapes import Region

SIDES = ("left", "right", "both")
"""Of the patient; a finding without a side has None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """One finding as it lies on a grid of voxels.

    Attributes:
        kind: `nodule`, `consolidation`, `effusion`, `pneumothorax`, `atelectasis`, `edema`, `cardiomegaly`, `rib_fracture`,
            `vertebral_fracture`, `pacemaker`, `central_line`, `tracheal_tube`, `port`.
        tracking_id: names the finding within the patient, the same on every visit, such as `nodule-2`.
        side: one of `SIDES`, or None where it has none.
        lobe: one of `medphantom.organs.lungs.LOBES`, or None where it is not of one lobe.
        shape: (D, H, W) of the whole grid.
        region: the voxels that `mask` covers, slices along (z, y, x) with plain starts and stops.
        mask: bool, of the region's shape: the voxels whose centres lie inside.
        box: (z0, y0, x0, z1, y1, x1) in voxel indices around the mask, half open; None where no voxel lies inside.
        diameter_mm: longest diameter within an axial plane (RECIST), None where a diameter does not describe the finding.
        short_axis_mm: the extent at right angles to it in the same plane, or None.
        volume_ml: with voxels at the surface counted by the share of them that lies inside.
        center_mm: (x, y, z) LPS mm, the mask's centroid.
        parameters: what it was drawn from, as plain numbers, words and truth values.
        parents: tracking ids of what this came out of: one for a part of a lesion that split, several for lesions that merged.
    """

    kind: str
    tracking_id: str
    side: str | None
    lobe: str | None
    shape: tuple[int, int, int]
    region: Region
    mask: npt.NDArray[np.bool_]
    box: tuple[int, int, int, int, int, int] | None
    diameter_mm: float | None
    short_axis_mm: float | None
    volume_ml: float
    center_mm: tuple[float, float, float]
    parameters: Mapping[str, float | str | bool] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.side is not None and self.side not in SIDES:
            raise ValueError(f"Truth of {self.tracking_id!r}: side must be one of {', '.join(SIDES)} or None, got {self.side!r}")
        if self.mask.shape != tuple(s.stop - s.start for s in self.region):
            raise ValueError(
                f"Truth of {self.tracking_id!r}: the mask has shape {self.mask.shape}, which is not that of its region {self.region}"
            )

    @property
    def seen(self) -> bool:
        """Whether any voxel of the grid lies inside."""
        return self.box is not None

    def on_grid(self) -> npt.NDArray[np.bool_]:
        """The mask on the whole grid, (D, H, W)."""
        whole = np.zeros(self.shape, bool)
        whole[self.region] = self.mask
        return whole
