"""A DICOM series in, a DICOM SEG out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meddeploy.errors import InputError
from meddeploy.predictor import Predictor
from medio import Segment, read, write_segmentation


def segment_study(predictor: Predictor, dicom: Path | str | Sequence[Path], out_path: Path | str, segments: Sequence[Segment]) -> Path:
    """Segment one DICOM series and write the result as DICOM SEG on its source frames.

    Args:
        predictor: of a segmentation bundle in 3D.
        dicom: folder or files of one series.
        out_path: where to write; `medio.write_segmentation` checks there, in mm, that the mask lies where it should.
        segments: one for each foreground class, numbered as in the bundle's `classes`, each with its code; none is ever made up. Where one names no
            algorithm, the bundle is named, since no human hand drew it.

    Returns:
        The path written.

    Raises:
        InputError: for a bundle that does not segment volumes, or segments that are not its classes.
        medio.MedioError: for a series that cannot be read, or a mask that cannot be written on it.
    """
    bundle = predictor.bundle
    if bundle.kind != "segmentation" or bundle.preprocessing.spatial_dims != 3:
        raise InputError(
            bundle.folder, f"answers a {bundle.preprocessing.spatial_dims}D {bundle.kind}; a DICOM SEG of a study needs a 3D segmentation"
        )
    wanted = dict(enumerate(bundle.classes))
    del wanted[0]
    numbers = sorted(segment.number for segment in segments)
    if numbers != sorted(wanted):
        names = ", ".join(f"{number} {name}" for number, name in wanted.items())
        raise InputError(
            bundle.folder, f"has the classes {names}; the segments are numbered {numbers}: give one Segment with its code a class"
        )
    image = read(dicom)
    prediction = predictor.predict(image)
    assert prediction.mask is not None  # a segmentation always has one
    described = [
        segment if segment.algorithm else replace(segment, algorithm=bundle.card.arch, algorithm_version=bundle.sha256[:12])
        for segment in segments
    ]
    files = [Path(path) for path in dict.fromkeys(image.meta.get("paths", ()))]
    if not files:
        raise InputError(str(dicom), "is no DICOM series; write the mask of other images with medio.write")
    return write_segmentation(prediction.mask, files, described, Path(out_path), affine=image.affine)
