"""From an archive to an index, de-identified files and shards."""
