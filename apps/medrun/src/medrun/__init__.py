"""What the apps share: the training engine, tracking, registry, command lines.

The names below load on first use: a command says what is wrong with its arguments before torch is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medrun.cli import choice, hydra_app, option, progress, run_typer, say, table
    from medrun.criteria import Criterion, Verdict, judge
    from medrun.data import Normalize, TrainData
    from medrun.engine import FitResult, fit
    from medrun.engine_config import EngineConfig
    from medrun.errors import (
        ConfigError,
        NonFiniteLossError,
        PromotionError,
        RegistryError,
        ResumeError,
        RunInterruptedError,
        TrackerError,
        UserError,
    )
    from medrun.registry import Registry, Version
    from medrun.seeding import seed_everything
    from medrun.tracking import open_tracker

_HOMES = {
    "medrun.cli": ("choice", "hydra_app", "option", "progress", "run_typer", "say", "table"),
    "medrun.criteria": ("Criterion", "Verdict", "judge"),
    "medrun.data": ("Normalize", "TrainData"),
    "medrun.engine": ("FitResult", "fit"),
    "medrun.engine_config": ("EngineConfig",),
    "medrun.errors": (
        "ConfigError",
        "NonFiniteLossError",
        "PromotionError",
        "RegistryError",
        "ResumeError",
        "RunInterruptedError",
        "TrackerError",
        "UserError",
    ),
    "medrun.registry": ("Registry", "Version"),
    "medrun.seeding": ("seed_everything",),
    "medrun.tracking": ("open_tracker",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ConfigError",
    "Criterion",
    "EngineConfig",
    "FitResult",
    "NonFiniteLossError",
    "Normalize",
    "PromotionError",
    "Registry",
    "RegistryError",
    "ResumeError",
    "RunInterruptedError",
    "TrackerError",
    "TrainData",
    "UserError",
    "Verdict",
    "Version",
    "choice",
    "fit",
    "hydra_app",
    "judge",
    "open_tracker",
    "option",
    "progress",
    "run_typer",
    "say",
    "seed_everything",
    "table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'medrun' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
