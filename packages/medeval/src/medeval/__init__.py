"""Metrics with patient-clustered intervals and an honest report page."""
