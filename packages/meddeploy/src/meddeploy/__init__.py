"""Export, verify and run trained models: ONNX bundles and predictors."""
