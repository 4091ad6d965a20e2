"""What tissues are made of: attenuation for CT and films, relaxation for MR."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A tissue, as a scanner sees it.

    Attributes:
        name: of the tissue, or of the device's material.
        hu: attenuation in HU.
        pd: proton density as a share of water's, 0 to 1.
        t1_ms: longitudinal relaxation time in ms.
        t2_ms: transverse relaxation time in ms.
        texture: standard deviation in HU of the tissue's own unevenness; 0 for what is even.

    Source: T1 and T2 at 1.5 T as in Stanisz et al., Magn Reson Med 2005 (blood, muscle), and de Bazelaire et al., Radiology 2004 (abdomen, marrow, fat).
    """

    name: str
    hu: float
    pd: float
    t1_ms: float
    t2_ms: float
    texture: float = 0.0

    def __post_init__(self) -> None:
        if not -1024 <= self.hu <= 30000:
            raise ValueError(f"Material {self.name!r}: hu must lie between -1024 and 30000, got {self.hu}")
        if not 0 <= self.pd <= 1:
            raise ValueError(f"Material {self.name!r}: pd is a share of water's proton density, 0 to 1, got {self.pd}")
        if not (self.t1_ms > 0 and self.t2_ms > 0):
            raise ValueError(f"Material {self.name!r}: t1_ms and t2_ms must be positive, got {self.t1_ms} and {self.t2_ms}")
        if not self.texture >= 0:
            raise ValueError(f"Material {self.name!r}: texture is a standard deviation in HU and cannot be negative, got {self.texture}")


AIR = Material(name="air", hu=-1000, pd=0, t1_ms=1000, t2_ms=1)
SKIN = Material(name="skin", hu=30, pd=0.7, t1_ms=900, t2_ms=35, texture=9)
FAT = Material(name="fat", hu=-100, pd=0.9, t1_ms=343, t2_ms=70, texture=9)
MEDIASTINAL_FAT = Material(name="mediastinal fat", hu=-75, pd=0.9, t1_ms=360, t2_ms=68, texture=14)
MUSCLE = Material(name="muscle", hu=50, pd=0.8, t1_ms=1008, t2_ms=44, texture=9)
SOFT_TISSUE = Material(name="soft tissue", hu=35, pd=0.8, t1_ms=900, t2_ms=55, texture=9)
VISCERA = Material(name="bowel and fat", hu=-25, pd=0.85, t1_ms=500, t2_ms=65, texture=35)
LIVER = Material(name="liver", hu=58, pd=0.75, t1_ms=586, t2_ms=46, texture=7)
SPLEEN = Material(name="spleen", hu=48, pd=0.8, t1_ms=1057, t2_ms=79, texture=6)
KIDNEY = Material(name="kidney", hu=33, pd=0.85, t1_ms=1100, t2_ms=86, texture=6)
STOMACH = Material(name="stomach", hu=22, pd=0.9, t1_ms=1800, t2_ms=200, texture=12)
MYOCARDIUM = Material(name="myocardium", hu=45, pd=0.8, t1_ms=1030, t2_ms=40, texture=9)
BLOOD = Material(name="blood", hu=42, pd=0.12, t1_ms=1441, t2_ms=290, texture=3)
"""Flowing: most of the protons that a spin echo excites have left the slice at the echo, so that little of their density counts."""
CORD = Material(name="spinal cord", hu=35, pd=0.75, t1_ms=745, t2_ms=74)
GLAND = Material(name="breast gland and fat", hu=-45, pd=0.85, t1_ms=550, t2_ms=62, texture=30)
FLUID = Material(name="fluid", hu=8, pd=1, t1_ms=4000, t2_ms=1500, texture=3)
LUNG = Material(name="lung", hu=-855, pd=0.15, t1_ms=1200, t2_ms=30, texture=18)
AIRWAY_WALL = Material(name="airway wall", hu=10, pd=0.7, t1_ms=900, t2_ms=40)
LUMEN = Material(name="airway lumen", hu=-990, pd=0, t1_ms=1000, t2_ms=1)
CORTICAL_BONE = Material(name="cortical bone", hu=640, pd=0.1, t1_ms=250, t2_ms=1)
SPONGY_BONE = Material(name="spongy bone", hu=240, pd=0.6, t1_ms=549, t2_ms=49, texture=18)
DISC = Material(name="disc", hu=90, pd=0.8, t1_ms=1100, t2_ms=100)
CALCIUM = Material(name="calcification", hu=600, pd=0.05, t1_ms=500, t2_ms=2)
METAL = Material(name="metal", hu=8000, pd=0, t1_ms=1000, t2_ms=1)
PLASTIC = Material(name="radio-opaque plastic", hu=700, pd=0, t1_ms=1000, t2_ms=1)
