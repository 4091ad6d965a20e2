"""Where a synthetic patient is scanned: hospitals that differ in scanner, in dose and in whom they see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from medio.keyed import keyed_generator
from medphantom.errors import ScanError


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A hospital, its machines and its patients.

    Attributes:
        name: institution.
        vendor: manufacturer.
        model: scanner's name.
        noise_hu: standard deviation of the CT's noise; a fourth of the dose doubles it.
        film_photons: photons a film's pixel counts without a patient.
        kernel: what the site calls its CT reconstruction kernel.
        kernel_mm: full width at half maximum of the kernel's blur in plane, mm; 0 leaves the picture as it is.
        spacing_mm: usual spacing of its CT (z, y, x), mm; used where the caller asks for no other.
        slice_thickness_mm: width of its CT's slices, mm; more than the spacing means that slices overlap.
        film_curve: exponent of the film's response between its darkest and its brightest value; 1 is linear, below 1 lifts what is faint.
        film_scatter: scattered over primary photons behind the patient; a grid keeps it low.
        mr_scale: stored value of fully relaxed water's MR signal; every vendor has its own.
        mr_bias: largest relative change of MR signal by the coil's uneven sensitivity, 0 to below 1.
        mr_noise: standard deviation of the noise in each MR channel as a share of fully relaxed water's signal.
        ap_share: share of its films that are taken at the bedside, from front to back (AP), 0 to 1.
        prevalence: share of its patients with each kind of finding, 0 to 1.
    """

    name: str
    vendor: str
    model: str
    noise_hu: float
    film_photons: float
    kernel: str = "STANDARD"
    kernel_mm: float = 0.0
    spacing_mm: tuple[float, float, float] = (3.5, 3.5, 3.5)
    slice_thickness_mm: float = 3.5
    film_curve: float = 1.0
    film_scatter: float = 0.0
    mr_scale: float = 1000.0
    mr_bias: float = 0.0
    mr_noise: float = 0.01
    ap_share: float = 0.0
    # Left out of the hash only, so that sites can be members of sets and keys of dicts.
    prevalence: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("name", "vendor", "model"):
            text = getattr(self, name)
            if not text or len(text) > 64 or "\\" in text or not text.isprintable():
                raise ScanError(f"Site: {name} must be 1 to 64 printable characters without a backslash (a DICOM LO), got {text!r}")
        if not 0 < len(self.kernel) <= 16 or self.kernel != self.kernel.upper() or "\\" in self.kernel:
            raise ScanError(f"Site {self.name!r}: kernel must be 1 to 16 capitals (a DICOM SH), got {self.kernel!r}")
        for name in ("film_photons", "slice_thickness_mm", "film_curve", "mr_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ScanError(f"Site {self.name!r}: {name} must be positive and finite, got {getattr(self, name)}")
        for name in ("noise_hu", "kernel_mm", "film_scatter", "mr_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ScanError(f"Site {self.name!r}: {name} must be 0 or more and finite, got {getattr(self, name)}")
        if len(self.spacing_mm) != 3 or not all(0 < s < math.inf for s in self.spacing_mm):
            raise ScanError(f"Site {self.name!r}: spacing_mm must be three positive lengths in mm (z, y, x), got {self.spacing_mm}")
        if not 0 <= self.mr_bias < 1:
            raise ScanError(f"Site {self.name!r}: mr_bias must lie between 0 and 1, got {self.mr_bias}")
        for what, share in (("ap_share", self.ap_share), *((f"prevalence of {kind!r}", p) for kind, p in self.prevalence.items())):
            if not 0 <= share <= 1:
                raise ScanError(f"Site {self.name!r}: {what} is a share of its patients, 0 to 1, got {share}")


SITES = (
    Site(
        name="Phantom Hospital North",
        vendor="Phantom Vendor A",
        model="PHANTOM-A1",
        noise_hu=9.0,
        film_photons=4e5,
        kernel="SOFT",
        kernel_mm=1.4,
        spacing_mm=(2.5, 2.0, 2.0),
        slice_thickness_mm=2.5,
        film_scatter=0.3,
        mr_scale=1000.0,
        mr_bias=0.1,
        mr_noise=0.008,
        ap_share=0.15,
        prevalence={"nodule": 0.6, "cardiomegaly": 1 / 3, "effusion": 0.1, "consolidation": 0.1},
    ),
    Site(
        name="Phantom Hospital South",
        vendor="Phantom Vendor B",
        model="PHANTOM-B2",
        noise_hu=16.0,
        film_photons=2e5,
        kernel="STANDARD",
        kernel_mm=1.0,
        spacing_mm=(3.5, 3.5, 3.5),
        slice_thickness_mm=3.5,
        film_curve=0.9,
        film_scatter=0.5,
        mr_scale=400.0,
        mr_bias=0.2,
        mr_noise=0.015,
        ap_share=0.35,
        prevalence={"nodule": 0.4, "cardiomegaly": 0.4, "effusion": 0.25, "consolidation": 0.2, "pneumothorax": 0.05},
    ),
    Site(
        name="Phantom Clinic Harbour",
        vendor="Phantom Vendor C",
        model="PHANTOM-C3",
        noise_hu=26.0,
        film_photons=8e4,
        kernel="SHARP",
        kernel_mm=0.7,
        spacing_mm=(5.0, 3.0, 3.0),
        slice_thickness_mm=5.0,
        film_curve=1.15,
        film_scatter=0.8,
        mr_scale=2500.0,
        mr_bias=0.35,
        mr_noise=0.025,
        ap_share=0.7,
        prevalence={"nodule": 0.2, "cardiomegaly": 0.45, "effusion": 0.4, "consolidation": 0.35, "pneumothorax": 0.1},
    ),
)
"""Three sites, from a well-equipped one that screens for nodules to a busy one that sees the acutely ill."""


def make_sites(count: int, seed: int = 0) -> tuple[Site, ...]:
    """Make sites that differ in everything a model should not depend on.

    Args:
        count: of sites; the first three are `SITES`.
        seed: of those beyond; each depends on the seed and its own number alone, so that more sites leave the others as they are.

    Raises:
        ScanError: for fewer than one site.
    """
    if count < 1:
        raise ScanError(f"make_sites: count must be 1 or more, got {count}")
    return SITES[:count] + tuple(
        _draw(number, keyed_generator((seed, 0, f"phantom-site-{number}", 0), "site")) for number in range(4, count + 1)
    )


def _draw(number: int, rng: np.random.Generator) -> Site:
    kernel = ("SOFT", "STANDARD", "SHARP")[int(rng.integers(3))]
    thickness = float(rng.choice([2.0, 2.5, 3.0, 4.0, 5.0]))
    in_plane = float(rng.choice([2.0, 2.5, 3.0, 3.5]))
    return Site(
        name=f"Phantom Hospital {number}",
        vendor=f"Phantom Vendor {'ABCDE'[int(rng.integers(5))]}",
        model=f"PHANTOM-{number:02d}",
        noise_hu=round(float(rng.uniform(7, 32)), 1),
        film_photons=round(float(np.exp(rng.uniform(np.log(5e4), np.log(6e5)))), -3),
        kernel=kernel,
        kernel_mm=round({"SOFT": 1.4, "STANDARD": 1.0, "SHARP": 0.7}[kernel] * float(rng.uniform(0.8, 1.25)), 2),
        spacing_mm=(thickness, in_plane, in_plane),
        slice_thickness_mm=thickness,
        film_curve=round(float(rng.uniform(0.8, 1.25)), 2),
        film_scatter=round(float(rng.uniform(0.2, 1.0)), 2),
        mr_scale=round(float(np.exp(rng.uniform(np.log(200), np.log(4000))))),
        mr_bias=round(float(rng.uniform(0.05, 0.4)), 2),
        mr_noise=round(float(rng.uniform(0.005, 0.03)), 3),
        ap_share=round(float(rng.uniform(0.1, 0.8)), 2),
        prevalence={kind: round(float(most * rng.uniform(0.2, 1)), 2) for kind, most in _MOST_PREVALENT.items()},
    )


_MOST_PREVALENT = {
    "nodule": 0.7,
    "cardiomegaly": 0.5,
    "effusion": 0.5,
    "consolidation": 0.4,
    "atelectasis": 0.3,
    "edema": 0.3,
    "pneumothorax": 0.15,
    "rib_fracture": 0.15,
}


def draw_site(rng: np.random.Generator, sites: tuple[Site, ...] = SITES) -> Site:
    """Draw one of the sites, each as often, from the stream "site"."""
    return sites[int(rng.integers(len(sites)))]
