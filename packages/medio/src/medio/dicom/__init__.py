"""Read DICOM: headers, pixels, and from slices to volumes."""
