"""What medaug raises: one line that says what, which sample, and the mend."""


class AugmentationError(ValueError):
    """A sample or an option that cannot be augmented as asked.

    Args:
        sample: the sample or transform concerned.
        reason: what is wrong, and the mend.
    """

    def __init__(self, sample: str, reason: str) -> None:
        super().__init__(f"{sample}: {reason}")
        self.sample = sample
        self.reason = reason

    def __reduce__(self) -> tuple[type["AugmentationError"], tuple[str, str]]:
        # The default would call the class with the one joined text: errors must survive a worker process.
        return type(self), (self.sample, self.reason)
