"""Pretrain an encoder on shards."""
