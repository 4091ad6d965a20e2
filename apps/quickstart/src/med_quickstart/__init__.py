"""The whole chain in one command: from DICOM to a deployed, evaluated model."""
