"""Synthetic patients as DICOM files."""

from medphantom.dicom.writing import PhantomStudy, VisitFiles, write_dicom, write_visit

__all__ = ["PhantomStudy", "VisitFiles", "write_dicom", "write_visit"]
