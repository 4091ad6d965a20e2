"""Clinical tasks on any backbone: segmentation and classification."""
