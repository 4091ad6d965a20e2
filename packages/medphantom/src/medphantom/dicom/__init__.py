"""Synthetic patients as DICOM files."""

from medphantom.dicom.record import Record
from medphantom.dicom.writing import PhantomStudy, VisitFiles, record_of, write_dicom, write_visit

__all__ = ["PhantomStudy", "Record", "VisitFiles", "record_of", "write_dicom", "write_visit"]
