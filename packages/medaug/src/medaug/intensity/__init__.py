"""What changes values and leaves geometry alone."""
