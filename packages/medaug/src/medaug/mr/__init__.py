"""Magnetic resonance: receive fields, artefacts of k-space, and tissue contrast."""
