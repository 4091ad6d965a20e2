"""What medeval raises: one line that says what, which sample, and the mend."""


class EvalError(Exception):
    """Base of every error of this package.

    Args:
        subject: the sample, class, metric or argument concerned.
        reason: what is wrong, and the mend.
    """

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"{subject}: {reason}")
        self.subject = subject
        self.reason = reason

    def __reduce__(self) -> tuple[type["EvalError"], tuple[str, str]]:
        # The default would call the class with the one joined text: errors must survive a process pool.
        return type(self), (self.subject, self.reason)


class ShapeError(EvalError):
    """Arrays that should cover the same grid, or have the same axes, and do not."""


class LengthError(EvalError):
    """Lists that should hold one entry a case, and do not; or ids that should be unique."""


class ValueRangeError(EvalError):
    """Values outside what they stand for: probabilities beyond [0, 1], ids of no class, spacing that is not positive."""
