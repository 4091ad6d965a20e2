"""What the apps share: the training engine, tracking, registry, command lines."""
