"""Fine-tune a clinical task on shards."""
