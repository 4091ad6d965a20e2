"""DICOM and NIfTI in and out, archive index, de-identification, training shards."""
