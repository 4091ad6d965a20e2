"""Export, verify and run a trained model."""
