"""What medio raises: one line that says what, which file, and the mend."""

from pathlib import PurePath


class MedioError(Exception):
    """Base of every error of this package.

    Args:
        path: the file, folder or sample concerned.
        reason: what is wrong, and the mend.
    """

    def __init__(self, path: PurePath | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["MedioError"], tuple[str, str]]:
        # The default would call the class with the one joined text: errors must survive a process pool.
        return type(self), (self.path, self.reason)


class MissingFileError(MedioError):
    """A path that does not exist, or a folder that holds nothing of use."""


class CorruptFileError(MedioError):
    """A file whose content contradicts itself or ends too early."""


class UnsupportedError(MedioError):
    """A file that is well formed but of a kind this package does not read."""


class GeometryError(MedioError):
    """Geometry that is missing or contradictory; it never becomes an identity."""


class PrivacyError(MedioError):
    """A file that cannot be de-identified safely, e.g. with text burned into its pixels."""


class SampleError(MedioError):
    """A sample of a dataset that cannot be read or transformed; `path` is its id."""


class PacsError(MedioError):
    """An archive that cannot be reached, refuses, or answers with a failure; `path` is its address."""


class LoaderError(MedioError):
    """A loader that cannot go on: a worker died, a batch does not come, or shared memory is too small; `path` says which."""
