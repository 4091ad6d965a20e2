"""All volumes of a DICOM series, by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from medio.dicom.options import Irregular, Padding, PetValues, ReadOptions
from medio.dicom.planning import ONLY_VOLUME, SeriesPlan, plan_series
from medio.dicom.report import SeriesReport, report_of
from medio.dicom.volume import read_part
from medio.errors import GeometryError, MedioError, MissingFileError, UnsupportedError
from medio.image import Image


@dataclass(frozen=True, eq=False)
class Volumes(Mapping[str, Image]):
    """The volumes of a series by name, in a stable order.

    Attributes:
        images: by name, e.g. `b0`, `b1000 #2`, `echo 1 (4.9 ms)`, `magnitude, time 3`; the only volume of a series is called `volume`.
        refused: names of volumes that could not be read, with the reason; empty unless `on_error="report"`.
        report: geometry and findings of the whole series.
    """

    images: Mapping[str, Image]
    refused: Mapping[str, str]
    report: SeriesReport

    def __getitem__(self, name: str) -> Image:
        return self.images[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def stack(self, names: Sequence[str] | None = None) -> Image:
        """Put volumes on one grid into one array.

        Args:
            names: which, in this order; all by default.

        Returns:
            (T, D, H, W) in the type that holds all values. `meta["volumes"]` names each, and `b_value`, `gradient`, `echo_time_ms`, `time_s`, `phase` and `kind` are
            tuples of T; what else differs is left out.

        Raises:
            GeometryError: grids that differ.
            UnsupportedError: no volume, a name that is not there, units that differ, or colour.
        """
        chosen = list(self.images) if names is None else list(names)
        unknown = [name for name in chosen if name not in self.images]
        where = str(self.report.path)
        if unknown or not chosen:
            raise UnsupportedError(
                where, f"has no volume {unknown[0]!r}; it has {', '.join(self.images)}" if unknown else "has no volume to stack"
            )
        images = [self.images[name] for name in chosen]
        first = images[0]
        assert first.affine is not None  # volumes always have one
        for name, image in zip(chosen, images, strict=True):
            same = image.array.shape == first.array.shape and np.allclose(np.asarray(image.affine), first.affine, atol=1e-3)
            if not same:
                raise GeometryError(
                    where, f"{chosen[0]!r} and {name!r} lie on different grids; resample one like the other, or stack others"
                )
            if image.unit != first.unit or image.array.ndim != 3:
                raise UnsupportedError(where, f"{chosen[0]!r} and {name!r} have different units or are in colour; stack others")
        common = {key: value for key, value in first.meta.items() if all(_same(image.meta.get(key), value) for image in images)}
        told = {
            key: tuple(image.meta.get(key) for image in images)
            for key in ("b_value", "gradient", "echo_time_ms", "time_s", "phase", "kind")
        }
        return replace(first, array=np.stack([image.array for image in images]), meta={**common, **told, "volumes": tuple(chosen)})


def read_series(
    path: Path | str | Sequence[Path | str],
    *,
    volumes: Sequence[str] | None = None,
    tilt: Irregular = "refuse",
    gaps: Irregular = "refuse",
    padding: Padding = "keep",
    pet: PetValues = "auto",
    on_error: Literal["raise", "report"] = "raise",
    threads: int | None = None,
) -> Volumes:
    """Read every volume of one DICOM series.

    A series is split where planes differ (localizers, mixed orientations), and where several slices lie at one position: by kind of image (magnitude, phase, water,
    fat, ADC, …), stack, echo, b-value and gradient, inversion time, phase of the heart or breath, energy, and time. Copies of a slice are dropped and reported.

    Args:
        path: a folder with one DICOM series, one file, or the files of the series in any order.
        volumes: names of those to read; all by default. `inspect_series` lists them without reading pixels.
        tilt: `refuse` sheared stacks (gantry tilt), or `resample` them onto an upright grid.
        gaps: `refuse` uneven slice distances, or `resample` them onto an even grid.
        padding: `keep` the values of padding pixels, or turn them to `air`, the smallest value that is none.
        pet: `auto` for SUVbw where the header allows, `suv` to insist, `stored` for the file's units.
        on_error: `raise` for the first volume that cannot be read, or `report` to go on and list it in `refused`; raised all the same where none can be read.
        threads: decoding threads; None for as many as help.

    Returns:
        The volumes. `meta` of each holds `volume` (its name), `b_value` s/mm2, `gradient` (unit vector, LPS), `echo_time_ms`, `time_s` (since the first volume),
        `phase` (from 1) and `kind`, None or empty where they do not apply.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a broken file.
        GeometryError: a volume that is no regular grid; missing geometry; slices that nothing tells apart.
        UnsupportedError: several series, films, a name that is not there.

    Example:
        >>> dwi = medio.read_series("dwi")
        >>> list(dwi)
        ['b0', 'b1000 #1', 'b1000 #2']
        >>> dwi["b1000 #1"].meta["gradient"]
        (1.0, 0.0, 0.0)
    """
    options = ReadOptions(tilt=tilt, gaps=gaps, padding=padding, pet=pet, threads=threads)
    if on_error not in ("raise", "report"):
        raise ValueError(f"on_error must be 'raise' or 'report', got {on_error!r}")
    plan = _plan(path, pixels=True)
    if plan.is_film:
        raise UnsupportedError(plan.name, "holds films or cine, not volumes; use medio.read or medio.read_cine")
    wanted = plan.parts if volumes is None else [plan.part(name) for name in volumes]
    images: dict[str, Image] = {}
    refused: dict[str, str] = {}
    for part in wanted:
        try:
            images[part.name or ONLY_VOLUME] = read_part(plan, part, options)
        except MedioError as error:
            if on_error == "raise" or (not images and part is wanted[-1]):
                raise
            refused[part.name or ONLY_VOLUME] = error.reason
    return Volumes(images, refused, report_of(plan))


def inspect_series(path: Path | str | Sequence[Path | str]) -> SeriesReport:
    """Say what volumes a DICOM series holds and how regular they lie, without reading pixels.

    Args:
        path: a folder with one DICOM series, one file, or the files of the series in any order.

    Returns:
        the volumes with their geometry, tilt, gaps and other findings; `print` shows it.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a file whose header is broken.
        GeometryError: missing geometry; slices that nothing tells apart.
        UnsupportedError: several series, or pixels that are not read as images.
    """
    return report_of(_plan(path, pixels=False))


def _plan(path: Path | str | Sequence[Path | str], *, pixels: bool) -> SeriesPlan:
    paths: Path | list[Path] = Path(path) if isinstance(path, str | Path) else [Path(p) for p in path]
    for one in [paths] if isinstance(paths, Path) else paths:
        if not one.exists():
            raise MissingFileError(one, "no such file or folder")
    return plan_series(paths, pixels=pixels)


def _same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, str | int | float | tuple | bool) and a == b)
