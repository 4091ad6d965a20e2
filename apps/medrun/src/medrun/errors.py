"""What medrun raises: errors that a user can mend, each with the exit code of the command that met it."""

from collections.abc import Sequence


class UserError(Exception):
    """Something the user can mend: a command prints it as one line and exits with `exit_code`."""

    exit_code: int = 2


class ConfigError(UserError):
    """A setting that does not exist, or a value that it does not take."""


class ResumeError(UserError):
    """A run folder whose checkpoints belong to another run."""


class TrackerError(UserError):
    """A tracker that is unknown or not installed."""


class NonFiniteLossError(UserError):
    """The loss or its gradient became NaN or infinite.

    Args:
        step: optimiser step, from 0.
        value: what it became.
        sample_ids: the samples of the batch.
        what: the loss, or the norm of its gradient.
    """

    def __init__(self, step: int, value: float, sample_ids: Sequence[str], what: str = "loss") -> None:
        super().__init__(
            f"{what} is {value} at step {step}, on samples {', '.join(sample_ids)}; look at these images for NaN or empty regions, "
            "or lower the learning rate; the last checkpoint is kept"
        )
        self.step = step
        self.value = value
        self.sample_ids = tuple(sample_ids)


class RunInterruptedError(UserError):
    """A signal ended the run after it saved; the same command goes on from there. `exit_code` is 128 + the signal (143 for SIGTERM, 130 for SIGINT)."""

    def __init__(self, step: int, signal_number: int, checkpoint: str) -> None:
        super().__init__(f"stopped by signal {signal_number} at step {step}; saved {checkpoint}, run the same command again to go on")
        self.step = step
        self.exit_code = 128 + signal_number


class RegistryError(UserError):
    """A name, version or alias that does not exist, or a change that lost a race."""


class PromotionError(RegistryError):
    """A version that does not meet the win criteria."""
