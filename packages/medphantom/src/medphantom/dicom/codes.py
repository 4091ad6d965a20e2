"""SNOMED CT codes of classes, findings and places, from DICOM PS3.16 (context groups 74, 4010, 7151, 7159, 6102, 7157)."""

from medphantom.errors import PhantomError
from medphantom.findings.truth import Truth

Code = tuple[str, str, str]

ANATOMY: Code = ("123037004", "SCT", "Anatomical Structure")
MORPHOLOGY: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
OBJECT: Code = ("260787004", "SCT", "Physical object")

_FRACTURE: Code = ("72704001", "SCT", "Fracture")
_LUNG: Code = ("39607008", "SCT", "Lung")
_SPINE: Code = ("421060004", "SCT", "Spine")
_RIB: Code = ("113197003", "SCT", "Rib")
_HEART: Code = ("80891009", "SCT", "Heart")
_CONSOLIDATION: Code = ("95436008", "SCT", "Lung consolidation")
_ATELECTASIS: Code = ("46621007", "SCT", "Atelectasis")
_EDEMA: Code = ("19242006", "SCT", "Pulmonary edema")
_EFFUSION: Code = ("60046008", "SCT", "Pleural effusion")
_PNEUMOTHORAX: Code = ("36118008", "SCT", "Pneumothorax")
_NODULE: Code = ("27925004", "SCT", "Nodule")
_CATHETER: Code = ("52124006", "SCT", "Central venous catheter")

CLASSES: dict[str, tuple[Code, Code]] = {
    **{
        name: (code, ANATOMY)
        for name, code in {
            "lung": _LUNG,
            "heart": _HEART,
            "spine": _SPINE,
            "rib": _RIB,
            "vessel": ("59820001", "SCT", "Blood Vessel"),
            "aorta": ("15825003", "SCT", "Aorta"),
            "pulmonary_trunk": ("45341000", "SCT", "Trunk of pulmonary artery"),
            "vena_cava": ("35532006", "SCT", "Vena cava"),
            "airway": ("89187006", "SCT", "Airway structure"),
            "liver": ("10200004", "SCT", "Liver"),
            "spleen": ("78961009", "SCT", "Spleen"),
            "stomach": ("69695003", "SCT", "Stomach"),
            "kidney": ("64033007", "SCT", "Kidney"),
            "clavicle": ("51299004", "SCT", "Clavicle"),
            "scapula": ("79601000", "SCT", "Scapula"),
            "skin": ("39937001", "SCT", "Skin"),
            "fat": ("55603005", "SCT", "Fat"),
            "muscle": ("127954009", "SCT", "Skeletal muscle"),
            "mediastinum": ("72410000", "SCT", "Mediastinum"),
            "abdomen": ("818981001", "SCT", "Abdomen"),
            "breast": ("76752008", "SCT", "Breast"),
            "spinal_cord": ("2748008", "SCT", "Spinal cord"),
        }.items()
    },
    "nodule": (_NODULE, MORPHOLOGY),
    "consolidation": (_CONSOLIDATION, MORPHOLOGY),
    "effusion": (_EFFUSION, MORPHOLOGY),
    "pneumothorax": (_PNEUMOTHORAX, MORPHOLOGY),
    "atelectasis": (_ATELECTASIS, MORPHOLOGY),
    "edema": (_EDEMA, MORPHOLOGY),
    "fracture": (_FRACTURE, MORPHOLOGY),
    "device": (OBJECT, OBJECT),
}
"""Type and category of each class of voxels."""

FINDINGS: dict[str, tuple[Code, Code, Code]] = {
    "nodule": (_NODULE, MORPHOLOGY, _LUNG),
    "consolidation": (_CONSOLIDATION, MORPHOLOGY, _LUNG),
    "atelectasis": (_ATELECTASIS, MORPHOLOGY, _LUNG),
    "edema": (_EDEMA, MORPHOLOGY, _LUNG),
    "effusion": (_EFFUSION, MORPHOLOGY, ("3120008", "SCT", "Pleura")),
    "pneumothorax": (_PNEUMOTHORAX, MORPHOLOGY, ("3120008", "SCT", "Pleura")),
    "cardiomegaly": (("8186001", "SCT", "Cardiomegaly"), MORPHOLOGY, _HEART),
    "rib_fracture": (_FRACTURE, MORPHOLOGY, _RIB),
    "vertebral_fracture": (_FRACTURE, MORPHOLOGY, _SPINE),
    "pacemaker": (("14106009", "SCT", "Cardiac pacemaker"), OBJECT, _HEART),
    "central_line": (_CATHETER, OBJECT, ("35532006", "SCT", "Vena cava")),
    "tracheal_tube": (("26412008", "SCT", "Endotracheal tube"), OBJECT, ("44567001", "SCT", "Trachea")),
    "port": (("398013009", "SCT", "Implantable venous access port"), OBJECT, ("35532006", "SCT", "Vena cava")),
}
"""Type, category and place of each kind of finding."""

_LOBES: dict[str, Code] = {
    "upper": ("45653009", "SCT", "Upper lobe of lung"),
    "middle": ("72481006", "SCT", "Middle lobe of right lung"),
    "lower": ("90572001", "SCT", "Lower lobe of lung"),
}
_SIDES: dict[str, Code] = {
    "left": ("7771000", "SCT", "Left"),
    "right": ("24028007", "SCT", "Right"),
    "both": ("51440002", "SCT", "Right and left"),
}


def code_of(truth: Truth) -> tuple[Code, Code, Code]:
    """Type, category and place of a finding.

    Raises:
        PhantomError: for a kind that is not one of the package's own.
    """
    if truth.kind not in FINDINGS:
        raise PhantomError(
            f"finding {truth.tracking_id!r}: there is no code for its kind {truth.kind!r}, "
            "so neither SEG nor SR can hold it; leave these two out"
        )
    return FINDINGS[truth.kind]


def site_of(truth: Truth) -> Code:
    """Where a finding is: its lobe, else the organ of its kind."""
    return _LOBES[truth.lobe.split("_")[1]] if truth.lobe else code_of(truth)[2]


def side_of(truth: Truth) -> Code | None:
    """On which side a finding is."""
    return _SIDES[truth.side] if truth.side else None
