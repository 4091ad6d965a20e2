"""What goes wrong in pretraining, in one family."""


class PretrainError(ValueError):
    """Base of this package's errors; the message says what, and the mend."""
