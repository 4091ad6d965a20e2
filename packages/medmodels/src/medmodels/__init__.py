"""2D and 3D backbones, decoders, registry and encoder cards."""
