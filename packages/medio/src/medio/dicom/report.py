"""What a series holds and how regular it lies, in figures and in words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medio.dicom.grid import Gap, measure_grid
from medio.dicom.planning import ONLY_VOLUME, SeriesPlan
from medio.errors import GeometryError


@dataclass(frozen=True, slots=True, eq=False)
class VolumeReport:
    """Geometry of one volume of a series.

    Attributes:
        name: as `read_series` names it.
        shape: (D, H, W).
        spacing: (z, y, x) mm, z the mean slice distance; None where slices form no stack at all.
        affine: of index (z, y, x, 1) to LPS mm; None where no single affine is right.
        tilt_degrees: between the stack and the normal of its slices.
        usual_mm: median slice distance.
        gaps: distances that are not the usual one, with the slices around them and how many are missing.
        findings: everything that forbids or deserves attention, in words; empty for a regular, complete volume.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    affine: npt.NDArray[np.float64] | None
    tilt_degrees: float
    usual_mm: float
    gaps: tuple[Gap, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesReport:
    """What a series holds.

    Attributes:
        path: folder or file.
        files: how many images.
        skipped: names of DICOM files without pixels.
        volumes: in their order; empty for films and cine.
        findings: of the series as a whole, e.g. copies.
    """

    path: Path
    files: int
    skipped: tuple[str, ...]
    volumes: tuple[VolumeReport, ...]
    findings: tuple[str, ...]

    @property
    def is_regular(self) -> bool:
        """Whether nothing was found."""
        return bool(self.volumes) and not self.findings and not any(volume.findings for volume in self.volumes)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.files} files, {len(self.volumes)} volume{'' if len(self.volumes) == 1 else 's'}"]
        for volume in self.volumes:
            spacing = "no grid" if volume.spacing is None else " x ".join(f"{s:.4g}" for s in volume.spacing) + " mm"
            lines.append(f"  {volume.name}: {' x '.join(map(str, volume.shape))}, {spacing}")
            lines += [f"    {finding}" for finding in volume.findings]
        lines += [f"  {finding}" for finding in self.findings]
        lines += [f"  passed over: {name} (no pixels)" for name in self.skipped]
        return "\n".join(lines)


def report_of(plan: SeriesPlan) -> SeriesReport:
    """Measure every volume of a planned series."""
    volumes = []
    for part in plan.parts:
        name, size = part.name or ONLY_VOLUME, part.frames[0].size
        shape = (len(part.frames), *size)
        try:
            grid = measure_grid(part.frames, name)
        except GeometryError as error:
            volumes.append(VolumeReport(name, shape, None, None, 0.0, 0.0, (), (error.reason, *part.findings)))
            continue
        affine = None if grid.faults else grid.affine
        volumes.append(
            VolumeReport(name, shape, grid.spacing, affine, grid.tilt_degrees, grid.usual_mm, grid.gaps, (*grid.faults, *part.findings))
        )
    return SeriesReport(plan.name, len(plan.instances), plan.skipped, tuple(volumes), plan.findings)
