"""Projection radiography: exposure, scatter, grids, shutters, and what lies on the patient. Films are 2D."""
