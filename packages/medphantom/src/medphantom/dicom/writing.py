"""A synthetic patient as files: CT and MR series, films, SEG and SR, and the true labels beside them."""

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import medio
from medio.image import Image
from medphantom.dicom.derived import write_lesions, write_organs, write_sizes
from medphantom.dicom.images import write_ct, write_film, write_mr
from medphantom.dicom.planted import find_planted
from medphantom.dicom.record import Record, Uids
from medphantom.errors import PhantomError
from medphantom.nifti import write_nifti

if TYPE_CHECKING:
    from medphantom.patient import Patient

Format = Literal["dicom", "nifti", "both"]
Content = Literal["ct", "mr", "dx", "seg", "sr"]
CONTENTS: tuple[Content, ...] = ("ct", "mr", "dx", "seg", "sr")


@dataclass(frozen=True)
class PhantomStudy:
    """The files of one patient.

    Attributes:
        ct: one file a slice, from inferior to superior.
        radiograph: the patient's first film, or None if it was not asked for.
        labels: the true labels on the CT's grid, NIfTI.
        segmentation: the same as DICOM SEG, or None if it was not asked for.
    """

    ct: list[Path]
    radiograph: Path | None
    labels: Path
    segmentation: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitFiles:
    """The files of one visit.

    Attributes:
        ct: one file a slice, from inferior to superior.
        mr: by contrast, one file a slice.
        films: by view.
        organs: SEG of the labels, or None.
        lesions: SEG of the findings, or None where there are none.
        sizes: SR of the findings' sizes, or None.
        nifti: volumes by name.
        reports: text by what was read.
        planted: JSON of the identifiers planted in the DICOM files, or None.
    """

    ct: list[Path] = field(default_factory=list)
    mr: dict[str, list[Path]] = field(default_factory=dict)
    films: dict[str, Path] = field(default_factory=dict)
    organs: Path | None = None
    lesions: Path | None = None
    sizes: Path | None = None
    nifti: dict[str, Path] = field(default_factory=dict)
    reports: dict[str, Path] = field(default_factory=dict)
    planted: Path | None = None


def write_dicom(
    patient: "Patient", folder: Path | str, *, with_radiograph: bool = True, segmentation: bool = False, identifiers: bool = True
) -> PhantomStudy:
    """Write a patient below `folder/<patient_id>/`: `ct/0001.dcm` …, `dx/0001.dcm`, `labels.nii.gz` and, if asked for, `seg/0001.dcm`.

    Every file carries invented identifiers (names, birth date, institution, physicians, address, accession number, a private tag), so that
    de-identification has something to remove. UIDs are derived from seed, index, spacing, shape and voxels: the same patient gives the
    same bytes.

    Args:
        patient: from `make_patient`.
        folder: made if absent. The patient's own folder in it appears whole or not at all, and replaces an older one whole.
        with_radiograph: also write the film.
        segmentation: also write the labels as DICOM SEG.
        identifiers: plant them; else what DICOM lets be empty is empty.

    Returns:
        The paths.

    Source: DICOM PS3.3, CT Image IOD (A.3) and Digital X-Ray Image IOD (A.26).
    """
    record = record_of(patient)
    uids = Uids(record.identity())
    final = Path(folder) / patient.patient_id
    with appearing(final) as staged:
        ct = write_ct(record, uids, staged / "ct", identifiers=identifiers)
        if with_radiograph:
            write_film(record, uids, next(iter(record.films)), staged / "dx" / "0001.dcm", identifiers=identifiers)
        labels = Image(patient.labels, patient.ct.affine, patient.ct.spacing, "", {"patient_id": patient.patient_id})
        medio.write(labels, staged / "labels.nii.gz")
        if segmentation:
            write_organs(record, ct, staged / "seg" / "0001.dcm")
    return PhantomStudy(
        ct=[final / "ct" / path.name for path in ct],
        radiograph=final / "dx" / "0001.dcm" if with_radiograph else None,
        labels=final / "labels.nii.gz",
        segmentation=final / "seg" / "0001.dcm" if segmentation else None,
    )


def write_visit(
    record: Record, folder: Path, *, contents: Collection[Content] = CONTENTS, format: Format = "dicom", identifiers: bool = True
) -> VisitFiles:
    """Write all of one visit into a folder of its own.

    There: `ct/`, `mr_<contrast>/`, `dx/<view>.dcm`, `seg/`, `sr/`, `nifti/`, `report_<read>.txt`, `identifiers.json`.

    Args:
        record: the visit.
        folder: appears whole or not at all, and replaces an older one whole.
        contents: of `CONTENTS`. `seg` and `sr` refer to the CT and need it; `sr` needs `seg`.
        format: DICOM, NIfTI, or both. NIfTI holds volumes, not films.
        identifiers: plant invented identifiers in the DICOM files, and write down where.

    Returns:
        The paths.

    Raises:
        PhantomError: for contents that are not known, or that refer to others which are not written.
    """
    unknown = sorted(set(contents) - set(CONTENTS))
    if unknown:
        raise PhantomError(f"contents {', '.join(unknown)} are not known; choose among {', '.join(CONTENTS)}")
    for one, needed in (("seg", "ct"), ("sr", "seg")):
        if one in contents and needed not in contents:
            raise PhantomError(f"{one} refers to {needed}, which is not written; add {needed} or leave {one} out")
    with appearing(folder) as staged:
        files = _write_dicom(record, staged, contents, identifiers) if format != "nifti" else VisitFiles()
        nifti = write_nifti(record, staged / "nifti") if format != "dicom" else {}
        reports: dict[str, Path] = {}
        for name, report in record.reports.items():
            reports[name] = staged / f"report_{name}.txt"
            reports[name].write_text(report.text + "\n", encoding="utf-8")
        written = VisitFiles(
            ct=files.ct,
            mr=files.mr,
            films=files.films,
            organs=files.organs,
            lesions=files.lesions,
            sizes=files.sizes,
            nifti=nifti,
            reports=reports,
            planted=_write_planted(record, files, staged) if identifiers and format != "nifti" else None,
        )
    return _moved(written, staged, folder)


def record_of(patient: "Patient") -> Record:
    """The only visit of a patient of `make_patient`, without reports."""
    return Record(
        patient_id=patient.patient_id,
        seed=patient.seed,
        index=patient.index,
        visit=0,
        day=0,
        person=patient.person,
        site=patient.site,
        ct=patient.ct,
        labels=patient.labels,
        classes=patient.classes,
        truths=patient.truths,
        films=patient.radiographs,
        mr=patient.mr,
        lobes=patient.lobes,
        film_boxes=patient.film_boxes,
    )


@contextmanager
def appearing(final: Path) -> Iterator[Path]:
    """Give a folder to fill beside `final`; on success it takes that one's place at once, and an older one goes."""
    # A fixed name: what a killed run left is found and removed by the next.
    staged = final.with_name(f".{final.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    yield staged
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)


def _write_dicom(record: Record, staged: Path, contents: Collection[Content], identifiers: bool) -> VisitFiles:
    uids = Uids(record.identity())
    ct = write_ct(record, uids, staged / "ct", identifiers=identifiers) if "ct" in contents else []
    mr = {}
    if "mr" in contents:
        mr = {name: write_mr(record, uids, name, staged / f"mr_{name}", identifiers=identifiers) for name in record.mr}
    films = {}
    if "dx" in contents:
        films = {view: write_film(record, uids, view, staged / "dx" / f"{view}.dcm", identifiers=identifiers) for view in record.films}
    organs = write_organs(record, ct, staged / "seg" / "organs.dcm") if "seg" in contents else None
    lesions = write_lesions(record, ct, staged / "seg" / "findings.dcm") if "seg" in contents else None
    sizes = write_sizes(record, ct, lesions, staged / "sr" / "0001.dcm") if "sr" in contents and lesions is not None else None
    return VisitFiles(ct=ct, mr=mr, films=films, organs=organs, lesions=lesions, sizes=sizes)


def _write_planted(record: Record, files: VisitFiles, staged: Path) -> Path:
    path = staged / "identifiers.json"
    alone = (*files.films.values(), files.organs, files.lesions, files.sizes)
    series = [some for some in (files.ct, *files.mr.values(), *([one] for one in alone if one is not None)) if some]
    rows = [asdict(one) for one in find_planted(record, series, staged)]
    path.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    return path


def _moved(files: VisitFiles, staged: Path, final: Path) -> VisitFiles:
    def at(path: Path | None) -> Path | None:
        return None if path is None else final / path.relative_to(staged)

    def each(paths: dict[str, Path]) -> dict[str, Path]:
        return {name: final / path.relative_to(staged) for name, path in paths.items()}

    return VisitFiles(
        ct=[final / path.relative_to(staged) for path in files.ct],
        mr={name: [final / path.relative_to(staged) for path in paths] for name, paths in files.mr.items()},
        films=each(files.films),
        organs=at(files.organs),
        lesions=at(files.lesions),
        sizes=at(files.sizes),
        nifti=each(files.nifti),
        reports=each(files.reports),
        planted=at(files.planted),
    )
