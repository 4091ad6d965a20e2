"""Loops that numba compiles: the CPU's fast paths. Each takes and fills numpy arrays, frees the GIL, and uses no fast-math, so bits do not depend on shape."""
