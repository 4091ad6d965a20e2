"""Synthetic patients with known truth, written as DICOM."""

from medphantom.anatomy import Anatomy
from medphantom.dicom import PhantomStudy, write_dicom
from medphantom.errors import PhantomError, ScanError
from medphantom.findings.nodule import Nodule
from medphantom.patient import Patient, make_patient
from medphantom.people import SITES, Person, Site
from medphantom.radiograph import line_integrals

__all__ = [
    "SITES",
    "Anatomy",
    "Nodule",
    "Patient",
    "Person",
    "PhantomError",
    "PhantomStudy",
    "ScanError",
    "Site",
    "line_integrals",
    "make_patient",
    "write_dicom",
]
