"""The classes of voxels."""

from medphantom.organs.lungs import LOBES

BASIC_CLASSES = ("background", "lung", "heart", "spine", "rib", "vessel", "nodule")
"""What `make_patient` labels unless asked for more. `rib` is the rib cage: ribs and sternum."""
ORGAN_CLASSES = ("aorta", "pulmonary_trunk", "vena_cava", "airway", "liver", "spleen", "stomach", "kidney", "clavicle", "scapula", "skin")
FINDING_CLASSES = ("consolidation", "effusion", "pneumothorax", "atelectasis", "edema", "fracture", "device")
TISSUE_CLASSES = ("fat", "muscle", "mediastinum", "abdomen", "breast", "spinal_cord")
"""What lies between the organs; `abdomen` is bowel and fat."""
CLASSES = BASIC_CLASSES + ORGAN_CLASSES + FINDING_CLASSES + TISSUE_CLASSES
"""Class of each value of full labels; the basic ones keep their values."""
SEE_THROUGH = frozenset({"airway", "consolidation", "atelectasis", "edema", "fracture", "device"})
"""Classes that basic labels ignore, so that what they lie in keeps its own class; the others without a basic class are background there."""
LOBE_CLASSES = ("outside", *LOBES)
"""Class of each value of `Scene.lobes`."""
