"""What goes wrong with models, in one family."""


class ModelError(Exception):
    """Base of this package's errors; the message says what, where, and the mend."""


class UnknownModelError(ModelError):
    """No model of that name, or a name taken twice."""


class ArtifactError(ModelError):
    """A saved artifact that is missing, incomplete or altered."""


class EncoderMismatchError(ModelError):
    """Weights that do not fit the network or the images they are asked to serve."""
