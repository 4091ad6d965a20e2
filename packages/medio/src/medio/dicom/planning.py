"""What a DICOM series holds, before any of its pixels become a volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom.uid import UID, CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, SecondaryCaptureImageStorage

from medio.dicom.films import FILM_MODALITIES
from medio.dicom.frame import Frame, classic_frame
from medio.dicom.instances import Instance, compared, open_series, sound
from medio.dicom.labels import acquired_at
from medio.dicom.nuclear import is_reconstruction
from medio.dicom.split import Part, split_volumes
from medio.dicom.stack import frames_of
from medio.errors import CorruptFileError, UnsupportedError

ONLY_VOLUME = "volume"
"""What the volume of a series that holds one is called."""
_SERIES = compared("SeriesInstanceUID", "SeriesDescription")
_KIND = compared("Modality", "SOPClassUID", "ImageType", "NumberOfFrames", "SpacingBetweenSlices")
_SLICES = frozenset({CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage})


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPlan:
    """The files of one series, and the volumes that their slices belong to.

    Attributes:
        name: folder or file to name in errors.
        instances: the image files.
        skipped: names of DICOM files without pixels that were passed over.
        parts: the volumes; empty for films and cine.
        findings: what was noticed, e.g. copies that were dropped.
        begins: when each of several volumes began to be acquired, None where not said; empty for a single one.
    """

    name: Path
    instances: tuple[Instance, ...]
    skipped: tuple[str, ...]
    parts: tuple[Part, ...]
    findings: tuple[str, ...]
    begins: tuple[datetime | None, ...] = ()

    @property
    def is_film(self) -> bool:
        """Whether the files are films or cine, which lie nowhere in the patient."""
        return not self.parts

    def part(self, volume: str | None) -> Part:
        """Return the volume of a name, or the only one.

        Raises:
            UnsupportedError: several volumes and none chosen, or none of that name.
        """
        if len(self.parts) == 1 and volume in (None, ONLY_VOLUME):
            return self.parts[0]
        named = [part.name for part in self.parts]
        if volume in named:
            return self.parts[named.index(volume)]
        some = ", ".join(f"{part.name!r} ({len(part.frames)} slice{'s' if len(part.frames) > 1 else ''})" for part in self.parts[:8])
        listed = some + (f", and {len(named) - 8} more" if len(named) > 8 else "")
        if volume is not None:
            if len(self.parts) == 1:
                raise UnsupportedError(self.name, f"holds one volume, none of the name {volume!r}; leave volume= out")
            raise UnsupportedError(self.name, f"has no volume {volume!r}; it holds {listed}")
        mixed = [finding for finding in self.findings if finding.startswith("mixed ")]
        why = f" ({'; '.join(mixed)})" if mixed else ""
        raise UnsupportedError(
            self.name,
            f"holds {len(named)} volumes: {listed}{why}; choose one, e.g. volume={named[0]!r}, or read all with medio.read_series",
        )


def plan_series(path: Path | Sequence[Path], *, pixels: bool = True) -> SeriesPlan:
    """Open the files of one series and sort their slices into volumes.

    Args:
        path: a folder (with its subfolders), one file, or the files of a series in any order.
        pixels: compare the pixels of what look like copies.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a file that is broken or cut short; one SOPInstanceUID with two sets of pixels.
        GeometryError: missing geometry; slices at one position that nothing tells apart.
        UnsupportedError: several series, or pixels that are not read as images.
    """
    instances, skipped = open_series(path)
    name = path if isinstance(path, Path) else path[0].parent if len(path) > 1 else path[0]
    _check_one_series(instances, name)
    frames: list[Frame] = []
    films: list[Instance] = []
    for instance in instances:
        with sound(instance.path):
            if (twin := instance.twin(_KIND)) is not None and twin.memo.get("classic"):
                frames.append(classic_frame(instance))
                continue
            if is_film(instance):
                films.append(instance)
                continue
            _refuse(instance)
            frames += frames_of(instance)
            get = instance.header.get
            # What decides this is compared, but for the content of private elements (slice grids) and the SOP class in the file meta.
            instance.memo["classic"] = "frame" in instance.memo and bool(get("SOPClassUID")) and "VFRAME" not in str(get("ImageType"))
    if not frames:
        return SeriesPlan(name, tuple(instances), skipped, (), ())
    placeless = [f"{film.path.name} has no place in the patient (a capture or a film): left out" for film in films]
    with sound(name):
        parts, findings = split_volumes(frames, name, pixels=pixels)
        begins = tuple(_begin(part) for part in parts) if len(parts) > 1 else ()
    return SeriesPlan(name, tuple(instances), skipped, tuple(parts), (*placeless, *findings), begins)


def is_film(instance: Instance) -> bool:
    """Whether a file is a projection image, a capture or a cine: something without a place in the patient."""
    header = instance.header
    modality = str(header.get("Modality") or "OT")
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = [*(header.get("PerFrameFunctionalGroupsSequence") or [])[:1], *(header.get("SharedFunctionalGroupsSequence") or [])[:1]]
        placed = any(group.get("PlanePositionSequence") or group.get("PlanePositionVolumeSequence") for group in groups)
        return not placed and modality in FILM_MODALITIES
    if modality == "NM":
        return not is_reconstruction(header)
    if instance.sop_class_uid in _SLICES and "ImagePositionPatient" in header:
        return False
    # A capture of a CT or MR screen says CT or MR too, but it has no place; a CT or MR slice without one is an error.
    captured = instance.sop_class_uid == SecondaryCaptureImageStorage and "ImagePositionPatient" not in header
    if modality in FILM_MODALITIES:
        # Ultrasound and angiography write places too, for slices of a reconstruction.
        return (
            instance.frame_count > 1
            or "ImagePositionPatient" not in header
            or "ImageOrientationPatient" not in header
            or not _is_slice(instance)
        )
    return captured


def _begin(part: Part) -> datetime | None:
    return min((moment for frame in part.frames if (moment := acquired_at(frame)) is not None), default=None)


def _is_slice(instance: Instance) -> bool:
    """Whether a placed file of a projection modality is a slice: a derived, reconstructed one."""
    kinds = [str(v) for v in instance.header.get("ImageType") or []]
    return "RECON" in kinds or "VOLUME" in kinds or "TOMOSYNTHESIS" in kinds or bool(instance.header.get("SpacingBetweenSlices"))


def _refuse(instance: Instance) -> None:
    header = instance.header
    if header.get("Modality") == "SEG":
        raise UnsupportedError(instance.path, "a DICOM SEG; use medio.read_segmentation")
    if "PlanePositionSlideSequence" in header or "TotalPixelMatrixRows" in header:
        raise UnsupportedError(instance.path, "a whole-slide image is tiled, not stacked; it is not read")


def _check_one_series(instances: Sequence[Instance], name: Path) -> None:
    series: dict[str, list[str]] = {}
    for instance in instances:
        twin = instance.twin(_SERIES)
        if twin is not None and (said := twin.memo.get("series")) is not None:
            series[said[0]].append(said[1])
            continue
        with sound(instance.path):
            if instance.offset is None:
                kind = UID(instance.sop_class_uid).name
                raise CorruptFileError(
                    instance.path, f"{kind} that ends before its PixelData; the file is truncated, fetch it again or exclude it"
                )
            uid, description = (str(instance.header.get(keyword) or "") for keyword in ("SeriesInstanceUID", "SeriesDescription"))
        instance.memo["series"] = uid, description
        series.setdefault(uid, []).append(description)
    if len(series) > 1:
        kinds = ", ".join(f"{descriptions[0] or uid} ({len(descriptions)})" for uid, descriptions in list(series.items())[:4])
        raise UnsupportedError(
            name, f"holds {len(series)} series: {kinds}; read one, e.g. the paths of one of medio.series(medio.scan(folder))"
        )
