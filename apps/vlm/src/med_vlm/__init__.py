"""Tune a vision-language model on image-report pairs."""
