"""2D and 3D augmentation: one geometry, keyed randomness."""
