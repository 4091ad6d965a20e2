"""Objects derived from images: segmentations, measurements, maps, captures; out and back in."""
