"""Films and reports of phantoms as shards: `python phantom_reports.py OUT`."""

import sys

from medio import ShardSample, build_shards, resize
from medphantom import make_patient

SPLITS = ("train", "train", "train", "test")


def pair(index: int) -> ShardSample:
    """One synthetic patient's film and report."""
    patient = make_patient(0, index)
    film = resize(patient.radiograph, (96, 96))
    return ShardSample(
        sample_id=patient.patient_id,
        patient_id=patient.patient_id,
        arrays={"image": film.array[None]},
        spacing=film.spacing,
        modality="DX",
        split=SPLITS[index % len(SPLITS)],
        report=patient.report,
        labels={name: float(seen) for name, seen in patient.findings.items()},
    )


if __name__ == "__main__":
    built = build_shards(range(16), pair, sys.argv[1])
    print(f"{built.samples} pairs in {built.root}")
