"""What medfinetune raises: one line that says what, where, and the mend."""


class FinetuneError(Exception):
    """Base of every error of this package."""


class BatchError(FinetuneError):
    """A batch or an image that the task cannot take: a missing key, a wrong shape, a label out of range."""


class RebuildError(FinetuneError):
    """A saved artifact, intact as files, from which this package cannot build the network or task that it was asked for."""
