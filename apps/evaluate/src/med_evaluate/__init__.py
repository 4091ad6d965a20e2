"""Evaluate predictions against references, with intervals."""
