"""What meddeploy raises: one line that says what, which file or image, and the mend."""

from pathlib import PurePath


class DeployError(Exception):
    """Base of every error of this package.

    Args:
        path: the bundle, file or image concerned.
        reason: what is wrong, and the mend.
    """

    def __init__(self, path: PurePath | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["DeployError"], tuple[str, str]]:
        # The default would call the class with the one joined text: errors must survive a process pool.
        return type(self), (self.path, self.reason)


class BundleError(DeployError):
    """A bundle that is missing, incomplete, altered or of another version."""


class ExportError(DeployError):
    """An artifact that cannot be exported."""


class BackendError(DeployError):
    """A runtime that is not installed, not known, or did not give the device that was asked for."""


class InputError(DeployError):
    """An image, or a list of segments, that the bundle cannot serve."""
