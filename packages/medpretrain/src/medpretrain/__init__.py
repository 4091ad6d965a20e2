"""Self-supervised objectives for 2D and 3D medical images."""
