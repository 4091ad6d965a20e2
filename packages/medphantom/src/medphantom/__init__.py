"""Synthetic patients with known truth, written as DICOM."""

from medphantom.anatomy import Anatomy
from medphantom.course import Course, Visit, make_course
from medphantom.deformation import Deformation
from medphantom.dicom import PhantomStudy, Record, VisitFiles, write_dicom, write_visit
from medphantom.errors import PhantomError, ScanError
from medphantom.findings.atelectasis import LobarAtelectasis, PlateAtelectasis, make_lobar_atelectasis
from medphantom.findings.cardiomegaly import Cardiomegaly
from medphantom.findings.consolidation import Consolidation, make_consolidation
from medphantom.findings.device import CentralLine, Pacemaker, Port, TrachealTube
from medphantom.findings.drawing import KINDS, draw_findings
from medphantom.findings.edema import Edema
from medphantom.findings.effusion import Effusion, make_effusion
from medphantom.findings.finding import Finding, FindingError
from medphantom.findings.fracture import RibFracture, VertebralFracture
from medphantom.findings.nodule import Nodule
from medphantom.findings.pneumothorax import Pneumothorax, make_pneumothorax
from medphantom.findings.truth import Truth
from medphantom.labels import BASIC_CLASSES, CLASSES, LOBE_CLASSES
from medphantom.mr import CONTRASTS, FLAIR, STIR, T1W, T2W, MRContrast
from medphantom.nifti import write_nifti
from medphantom.patient import Patient, make_patient
from medphantom.people import Person
from medphantom.population import Population, PopulationReport, make_population
from medphantom.progression import Fate
from medphantom.projection import BEDSIDE, LATERAL, PARALLEL, STANDING, View
from medphantom.radiograph import line_integrals
from medphantom.records import make_records
from medphantom.reports.dialogue import QA, dialogue
from medphantom.reports.statements import Report, Statement
from medphantom.reports.writing import write_visit_report
from medphantom.response import Response
from medphantom.scene import Scene, render
from medphantom.sites import SITES, Site, make_sites
from medphantom.study import Study
from medphantom.thorax import make_scene, paint_thorax

__all__ = [
    "BASIC_CLASSES",
    "BEDSIDE",
    "CLASSES",
    "CONTRASTS",
    "FLAIR",
    "KINDS",
    "LATERAL",
    "LOBE_CLASSES",
    "PARALLEL",
    "QA",
    "SITES",
    "STANDING",
    "STIR",
    "T1W",
    "T2W",
    "Anatomy",
    "Cardiomegaly",
    "CentralLine",
    "Consolidation",
    "Course",
    "Deformation",
    "Edema",
    "Effusion",
    "Fate",
    "Finding",
    "FindingError",
    "LobarAtelectasis",
    "MRContrast",
    "Nodule",
    "Pacemaker",
    "Patient",
    "Person",
    "PhantomError",
    "PhantomStudy",
    "PlateAtelectasis",
    "Pneumothorax",
    "Population",
    "PopulationReport",
    "Port",
    "Record",
    "Report",
    "Response",
    "RibFracture",
    "ScanError",
    "Scene",
    "Site",
    "Statement",
    "Study",
    "TrachealTube",
    "Truth",
    "VertebralFracture",
    "View",
    "Visit",
    "VisitFiles",
    "dialogue",
    "draw_findings",
    "line_integrals",
    "make_consolidation",
    "make_course",
    "make_effusion",
    "make_lobar_atelectasis",
    "make_patient",
    "make_pneumothorax",
    "make_population",
    "make_records",
    "make_scene",
    "make_sites",
    "paint_thorax",
    "render",
    "write_dicom",
    "write_nifti",
    "write_visit",
    "write_visit_report",
]
