"""Computed tomography: windows, kernels, dose, and what beams and metal do. Images are in HU."""
