"""Draw docs/images/augmentation_*.png: each transform on a synthetic CT, MR or film, and some presets.

python docs/how-to/augmentation_pictures.py [FOLDER]
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sheets import auto, coloured, grey, sheet, soft

import medaug
from medaug import presets
from medphantom import STANDING, T1W, View, make_patient

Sample = dict[str, Any]


def samples() -> dict[str, Sample]:
    """One synthetic patient as CT with labels, MR, and film."""
    patient = make_patient(0, 1, spacing_mm=(2.5, 2.0, 2.0), shape=(64, 160, 190), contrasts=(T1W,))
    film = View(position="PA", source_mm=STANDING.source_mm, pixel_mm=(1.5, 1.5))
    radiograph = make_patient(0, 1, spacing_mm=(2.0, 2.0, 2.0), shape=(150, 160, 180), views=(film,)).radiograph
    mask = torch.from_numpy(patient.labels.astype(np.int64))
    spacing = tuple(float(s) for s in patient.ct.spacing)
    return {
        "ct": {"image": torch.from_numpy(patient.ct.array)[None].float(), "mask": mask, "spacing": spacing},
        "mr": {"image": torch.from_numpy(patient.mr["T1w"].array.astype(np.float32))[None], "mask": mask, "spacing": spacing},
        "xray": {
            "image": torch.from_numpy(radiograph.array.astype(np.float32))[None],
            "spacing": tuple(float(s) for s in radiograph.spacing),
        },
    }


def picture(sample: Sample, modality: str, *, labels: bool = False) -> np.ndarray:
    """The middle plane of a sample."""
    image = sample["image"][0]
    plane = (image[image.shape[0] // 2] if image.ndim == 3 else image).numpy()
    if modality == "xray":
        return grey(plane, 200, 3200)  # the same for all, so that exposure shows
    shown = soft(plane) if modality == "ct" and plane.min() < -500 else auto(plane)
    if labels and "mask" in sample:
        mask = sample["mask"]
        shown = coloured(shown, (mask[mask.shape[0] // 2] if mask.ndim == 3 else mask).numpy())
    return shown


def after(sample: Sample, modality: str, transform: Any, *, labels: bool = False) -> tuple[str, np.ndarray]:
    """One transform, with its name."""
    if hasattr(transform, "p"):
        transform = replace(transform, p=1.0)
    return type(transform).__name__, picture(medaug.Compose([transform])(sample, (0, 0, "phantom", 0)), modality, labels=labels)


def transforms(folder: Path) -> None:
    """Every transform once."""
    all_samples = samples()
    ct, mr, xray = (all_samples[name] for name in ("ct", "mr", "xray"))
    geometry = [
        medaug.Affine(rotation_deg=(20.0, 20.0), scale=(1.1, 1.1), translation_mm=8),
        medaug.Elastic(sigma_mm=40.0, magnitude_mm=2.8),
        medaug.BSpline(spacing_mm=70.0, magnitude_mm=28.0),
        medaug.Flip(axes=(-1,), p=1.0),
        medaug.RandomResizedCrop(shape=(48, 96, 96), scale=(0.3, 0.3)),
        medaug.Zoom(factor=(1.6, 1.6)),
    ]
    generic = [
        medaug.Gamma(range=(2.0, 2.0)),
        medaug.Noise(std=60.0),
        medaug.Blur(sigma_mm=3.0),
        medaug.Sharpen(),
        medaug.Median(),
        medaug.LowResolution(factor=0.3),
        medaug.SliceThickness(thickness_mm=20.0),
        medaug.HistogramWarp(),
        medaug.CoarseDropout(),
        medaug.LocalGamma(),
        medaug.LocalBrightness(),
        medaug.PoissonNoise(),
    ]
    of_ct = [
        medaug.WindowJitter(),
        medaug.KernelChange(),
        medaug.DoseNoise(),
        medaug.BeamHardening(),
        medaug.MetalStreaks(count=(2, 2), radius_mm=6.0, length_mm=150.0),
    ]
    of_mr = [
        medaug.BiasField(),
        medaug.Ghosting(),
        medaug.Motion(),
        medaug.Spike(),
        medaug.Gibbs(),
        medaug.TissueContrast(),
        medaug.RicianNoise(),
    ]
    of_film = [
        medaug.Exposure(),
        medaug.Scatter(),
        medaug.GridLines(),
        medaug.Collimation(),
        medaug.Inversion(),
        medaug.Markers(),
        medaug.Occluders(),
        medaug.Perspective(),
    ]
    of_ultrasound = [medaug.Speckle(), medaug.DepthGain(), medaug.Shadow(), medaug.Haze()]
    rows = [
        [("CT, its labels", picture(ct, "ct", labels=True)), *(after(ct, "ct", t, labels=True) for t in geometry)],
        [("CT", picture(ct, "ct")), *(after(ct, "ct", t) for t in generic[:6])],
        [after(ct, "ct", t) for t in generic[6:]],
        [after(ct, "ct", t) for t in of_ct],
        [("MR", picture(mr, "mr")), *(after(mr, "mr", t) for t in of_mr[:6])],
        [("film", picture(xray, "xray")), *(after(xray, "xray", t) for t in of_film[:6])],
        [
            *(after(xray, "xray", t) for t in of_film[6:]),
            *(
                after({**mr, "image": mr["image"][:, 32], "spacing": mr["spacing"][1:], "mask": mr["mask"][32]}, "mr", t)
                for t in of_ultrasound
            ),
        ],
    ]
    sheet(folder / "augmentation_transforms.png", rows)


def of_presets(folder: Path) -> None:
    """Some presets, four draws each."""
    all_samples = samples()
    rows = []
    for name, modality in (("ct_segmentation", "ct"), ("mr_segmentation", "mr"), ("xray_classification", "xray"), ("nnunet", "mr")):
        sample = all_samples[modality]
        row = [(f"before: {name}", picture(sample, modality, labels=True))]
        for view in range(5):
            result = presets.make_preset(name)(sample, (0, 0, "phantom", view))
            row.append((f"view {view}", picture(result, "", labels=True)))
        rows.append(row)
    sheet(folder / "augmentation_presets.png", rows)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    transforms(target)
    of_presets(target)
