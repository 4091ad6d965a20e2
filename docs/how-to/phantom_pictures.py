"""Draw docs/images/phantom_*.png: anatomy, findings, contrasts, films, sites and follow-up of synthetic patients.

python docs/how-to/phantom_pictures.py [FOLDER]
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sheets import SIZE, auto, coloured, lung, sheet, soft

from medphantom import (
    BEDSIDE,
    CONTRASTS,
    LATERAL,
    SITES,
    STANDING,
    Fate,
    Nodule,
    draw_findings,
    make_course,
    make_effusion,
    make_patient,
    make_pneumothorax,
)

make = partial(make_patient, spacing_mm=(2.0, 2.0, 2.0), shape=(150, 160, 190), labels="full")
SEED, INDEX = 0, 1


def anatomy(folder: Path) -> None:
    """CT in three planes with labels, MR contrasts, films."""
    patient = make(SEED, INDEX, contrasts=CONTRASTS, views=(STANDING, BEDSIDE, LATERAL), findings=())
    ct, labels = patient.ct.array, patient.labels
    z, y, x = (n // 2 for n in ct.shape)
    up = slice(None, None, -1)
    sheet(
        folder / "phantom_anatomy.png",
        [
            [
                ("axial, lung window", lung(ct[z])),
                ("axial, soft tissue", soft(ct[z])),
                ("coronal", soft(ct[up, y])),
                ("sagittal", soft(ct[up, :, x])),
            ],
            [
                ("labels", coloured(soft(ct[z]), labels[z])),
                ("below", coloured(soft(ct[z // 3]), labels[z // 3])),
                ("coronal", coloured(soft(ct[up, y]), labels[up, y])),
                ("sagittal", coloured(soft(ct[up, :, x]), labels[up, :, x])),
            ],
            [(name, auto(image.array[z])) for name, image in patient.mr.items()],
            [(f"film {name}", auto(image.array)) for name, image in patient.radiographs.items()],
        ],
    )


def findings(folder: Path) -> None:
    """One finding each, on the plane through its middle, and on the film."""
    kinds = ["consolidation", "effusion", "pneumothorax", "atelectasis", "edema", "rib_fracture", "pacemaker", "tracheal_tube"]
    pictures, films = [], []
    healthy = make(SEED, INDEX, findings=())
    large = {
        "effusion": (make_effusion(healthy.anatomy, side="left", volume_ml=900),),
        "pneumothorax": (make_pneumothorax(healthy.anatomy, side="left", share=0.4),),
    }
    for number, kind in enumerate(kinds):
        chosen = large.get(kind) or draw_findings(np.random.default_rng(number), healthy.anatomy, {kind: 1.0})
        patient = make(SEED, INDEX, findings=chosen, views=(STANDING,))
        truth = max(patient.truths, key=lambda t: t.mask.sum())
        middle = int(np.argmax(truth.on_grid().sum(axis=(1, 2))))
        window = lung if kind in ("consolidation", "pneumothorax", "atelectasis", "edema", "tracheal_tube") else soft
        pictures.append((kind.replace("_", " "), window(patient.ct.array[middle])))
        films.append(("", auto(patient.radiographs["PA"].array)))
    looks = []
    place = next(n for n in make_patient(SEED, 3).nodules)
    base = {"center_mm": place.center_mm, "semi_axes_mm": (11.0, 10.0, 10.0), "hu": 40.0}
    styles = {
        "smooth": {},
        "lobulated": {"margin": "lobulated"},
        "spiculated": {"margin": "spiculated"},
        "calcified": {"calcification": "central"},
        "popcorn": {"calcification": "popcorn"},
        "ground glass": {"density": "ground-glass", "hu": -550.0},
        "part-solid": {"density": "part-solid", "hu": -550.0},
    }
    for name, options in styles.items():
        patient = make_patient(SEED, 3, spacing_mm=(1.0, 1.0, 1.0), shape=(160, 300, 340), findings=(Nodule(**{**base, **options}),))
        if not patient.truths:
            continue
        z0, y0, x0, z1, y1, x1 = patient.truths[0].box
        cy, cx = (y0 + y1) // 2, (x0 + x1) // 2
        crop = patient.ct.array[(z0 + z1) // 2, max(cy - 30, 0) : cy + 30, max(cx - 35, 0) : cx + 35]
        looks.append((f"nodule, {name}", np.asarray(Image.fromarray(lung(crop)).resize(SIZE))))
    sheet(folder / "phantom_findings.png", [pictures[:4], films[:4], pictures[4:], films[4:], looks[:4], looks[4:]])


def time_and_sites(folder: Path) -> None:
    """A nodule that grows and one that goes, over three visits; the same patient at three sites."""
    patient = make_patient(SEED, 3)
    chosen = patient.nodules[:1]
    course = make_course(
        SEED,
        3,
        visits=3,
        interval_days=180,
        spacing_mm=(2.0, 2.0, 2.0),
        shape=(150, 160, 190),
        findings=chosen,
        fates=(Fate(tracking_id="nodule-1", change="growing", doubling_days=150.0),),
    )
    visits = []
    for visit in course.visits:
        truth = visit.truths[0]
        middle = int(np.argmax(truth.on_grid().sum(axis=(1, 2))))
        visits.append((f"day {visit.day}: {truth.diameter_mm:.0f} mm, {truth.volume_ml:.1f} ml", lung(visit.ct.array[middle])))
    sites = [(f"{s.name[8:]}", soft(make(SEED, INDEX, site=s).ct.array[75])) for s in SITES]
    sheet(folder / "phantom_time_sites.png", [visits, sites])


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    anatomy(target)
    findings(target)
    time_and_sites(target)
