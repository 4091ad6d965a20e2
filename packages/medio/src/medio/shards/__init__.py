"""Training shards: built, read by crop, verified."""
