"""Where content and window go: one plan a batch, in millimetres."""
