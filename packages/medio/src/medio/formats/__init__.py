"""Other image formats in and out."""
