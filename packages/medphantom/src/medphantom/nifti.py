"""A visit as NIfTI: pictures, labels, findings and the way back to the first visit."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

import medio
from medio.image import Image
from medphantom.dicom.record import Record


def write_nifti(record: Record, folder: Path) -> dict[str, Path]:
    """Write a visit's volumes below a folder.

    `ct.nii.gz`, `mr_<contrast>.nii.gz`, `labels.nii.gz`, `lobes.nii.gz`, `findings.nii.gz` and, from the second visit on,
    `displacement.nii.gz`.
    `findings` numbers the truths from 1 in their order; where two overlap, the later covers the earlier. `displacement` is a **4-D**
    float32 volume whose fourth dimension holds x, y, z in **LPS mm**: from where a voxel's tissue lies on this visit to where it lay on
    the first (not a 5-D volume of vector intent).

    Args:
        record: the visit.
        folder: made if absent.

    Returns:
        Paths by name (`ct`, `mr_T1w`, `labels`, …).
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {"ct": record.ct.array}
    arrays |= {f"mr_{name}": image.array for name, image in record.mr.items()}
    arrays["labels"] = record.labels
    if record.lobes is not None:
        arrays["lobes"] = record.lobes
    arrays["findings"] = findings_map(record)
    if record.displacement_mm is not None:
        arrays["displacement"] = np.moveaxis(np.asarray(record.displacement_mm, np.float32), -1, 0)
    paths = {}
    for name, array in arrays.items():
        paths[name] = folder / f"{name}.nii.gz"
        medio.write(Image(array, record.affine, record.ct.spacing, "", {"patient_id": record.patient_id}), paths[name])
    return paths


def findings_map(record: Record) -> npt.NDArray[np.uint8]:
    """Number the findings' voxels from 1 in the order of the truths, (D, H, W) uint8; 0 is none."""
    numbered = np.zeros(record.labels.shape, np.uint8)
    for number, truth in enumerate(record.truths, start=1):
        numbered[truth.region][truth.mask] = number
    return numbered
