"""What medvlm raises: one line that says what, which sample, and the mend."""


class VisionLanguageError(ValueError):
    """Base of this package's errors: a batch, a configuration or an artifact that cannot be used as it is."""
