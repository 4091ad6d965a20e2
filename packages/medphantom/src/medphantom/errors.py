"""What medphantom raises: one line that says what, and the mend."""


class PhantomError(Exception):
    """Base of every error of this package."""


class ScanError(PhantomError, ValueError):
    """A scan that was asked for and cannot be made: a seed, an index, a spacing or a shape out of range."""
