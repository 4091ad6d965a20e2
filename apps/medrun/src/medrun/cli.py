"""Command lines: `run_typer` for tools with verbs, `hydra_app` for experiments with `key=value`; errors become one line and an exit code.

Nothing here imports torch. A command's module imports torch, and whatever imports torch, inside its `main`, so that `medrun.cpu.prepare` comes first;
errors of such packages are given by name (`"medio.errors.MedioError"`).
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from medrun.configs import Key, build, choice, did_you_mean, keys_of, option, structured, to_plain
from medrun.console import progress, say, table
from medrun.cpu import is_main_process, prepare
from medrun.errors import ConfigError, UserError

__all__ = ["ConfigError", "UserError", "choice", "hydra_app", "option", "progress", "run_typer", "say", "table"]

ErrorFamily = type[Exception] | str
"""A class, or its full name (`medio.errors.MedioError`) where importing its package is slow."""

C = TypeVar("C")

_MENDABLE: tuple[type[Exception], ...] = (UserError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_FLAGS = ("--help", "-h", "--multirun", "-m")


def run_typer(app: typer.Typer, *, name: str, errors: Sequence[ErrorFamily] = (), argv: Sequence[str] | None = None) -> NoReturn:
    """Run a Typer app as a command and exit.

    Args:
        app: the commands.
        name: what the user types, e.g. `med-ingest`.
        errors: families that the user can mend, beside `UserError` and missing files: one line on standard error, exit code 2.
        argv: arguments; those of the process where None.
    """
    prepare()
    from typer.main import get_command

    with _one_line(name, errors):
        code = get_command(app).main(args=list(sys.argv[1:] if argv is None else argv), prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    raise AssertionError("unreachable")


def hydra_app(
    config_class: type[C], *, name: str, help: str, errors: Sequence[ErrorFamily] = (), examples: Sequence[str] = ()
) -> Callable[[Callable[[C], object]], Callable[[], None]]:
    """Decorate `def main(config: ConfigClass) -> None` to a console entry without arguments, configured by `key=value`.

    Hydra composes the values. The run folder is the config's field `out`: no folder is made by time of day, the working directory stays, and the
    composed config is left in `out/config.yaml`. Every rank of torchrun composes the same values and so shares one folder.

    Args:
        config_class: a frozen dataclass, nested as needed, its fields declared with `option` and `choice`; one is `out: Path`.
        name: what the user types, e.g. `med-pretrain`.
        help: what the command is for; begins `--help`.
        errors: families that the user can mend, beside `UserError` and missing files: one line on standard error, exit code 2.
        examples: command lines for `--help`.
    """
    if "out" not in config_class.__dataclass_fields__:  # type: ignore[attr-defined]
        raise TypeError(f"{config_class.__name__} needs a field `out`, the run folder")

    def decorate(main: Callable[[C], object]) -> Callable[[], None]:
        def entry(argv: Sequence[str] | None = None) -> None:
            prepare()
            arguments = list(sys.argv[1:] if argv is None else argv)
            if "--help" in arguments or "-h" in arguments:
                say(_help_text(config_class, name, help, examples))
                sys.exit(0)
            with _one_line(name, errors):
                multirun = "-m" in arguments or "--multirun" in arguments
                overrides = [a for a in arguments if a not in _FLAGS]
                if not multirun:
                    _run(main, compose(config_class, name, overrides))
                    return
                for i, job in enumerate(_jobs(config_class, overrides)):
                    config = compose(config_class, name, job)
                    out = Path(config.out) / str(i)  # type: ignore[attr-defined]
                    say(f"{name}: job {i}: {' '.join(job)} -> {out}")
                    _run(main, compose(config_class, name, [*(o for o in job if not o.startswith("out=")), f"out='{_escaped(out)}'"]))

        entry.__doc__ = main.__doc__
        entry.__name__ = main.__name__
        return entry

    return decorate


def compose(config_class: type[C], name: str, overrides: Sequence[str]) -> C:
    """Compose a config from `key=value` words by Hydra.

    Raises:
        ConfigError: for a key that does not exist, a value that it does not take, or one that is required and absent.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    keys = keys_of(config_class)
    chosen = _check_keys(keys, overrides)
    store, root = ConfigStore.instance(), name.replace("-", "_")
    # Hydra's store is one for the process: what one command calls a group (task=…) must not become a group of the next.
    before = dict(store.repo)
    store.store(name=root, node=structured(config_class))
    for item in config_class.__dataclass_fields__.values():  # type: ignore[attr-defined]
        for option_name, kind in item.metadata.get("choices", {}).items():
            store.store(group=item.name, name=option_name, node=structured(kind))
    try:
        with initialize(version_base="1.3", config_path=None, job_name=root):
            composed = hydra_compose(config_name=root, overrides=list(overrides))
        missing = sorted(OmegaConf.missing_keys(composed))
        if missing:
            helps = {key.name: key.help for key in keys}
            wanted = ", ".join(f"{key}=VALUE" + (f" ({helps[key]})" if helps.get(key) else "") for key in missing)
            raise ConfigError(f"missing {wanted}; `{name} --help` lists all settings")
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_reason(error, overrides)) from error
    finally:
        store.repo = before
    assert isinstance(values, dict)
    return build(config_class, {str(k): v for k, v in values.items()}, chosen)


def _check_keys(keys: Sequence[Key], overrides: Sequence[str]) -> dict[str, str]:
    """Refuse words that are no `key=value` and keys that do not exist; return the name taken in each choice."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    groups = {key.under[0]: [k.under[1] for k in keys if k.under and k.under[0] == key.under[0]] for key in keys if key.under}
    chosen = {key.name: key.default for key in keys if key.name in groups}
    parsed: list[Any] = []
    for word in overrides:
        if word.startswith("-"):
            known = [*_FLAGS, *(key.name for key in keys)]
            raise ConfigError(
                f"unknown option {word}; settings are written key=value{did_you_mean(word.lstrip('-').partition('=')[0], known)}"
            )
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word!r} is not a setting; write key=value{did_you_mean(word, (key.name for key in keys))}")
        try:
            parsed += parser.parse_overrides([word])
        except HydraException as error:
            name, _, value = word.partition("=")
            raise ConfigError(f"cannot read {word!r}; a value with spaces or signs needs quotes: \"{name}='{value}'\"") from error
    for override in parsed:
        if override.key_or_group in groups and isinstance(override.value(), str):
            options = sorted(set(groups[override.key_or_group]))
            if override.value() not in options:
                value = override.value()
                raise ConfigError(
                    f"{override.key_or_group} must be one of {', '.join(options)}, got {value!r}{did_you_mean(value, options)}"
                )
            chosen[override.key_or_group] = override.value()
    valid = [key for key in keys if key.under is None or chosen[key.under[0]] == key.under[1]]
    for override in parsed:
        name = override.key_or_group
        if any(key.name == name or (key.open and name.startswith(f"{key.name}.")) for key in valid):
            continue
        elsewhere = [f"{key.under[0]}={key.under[1]}" for key in keys if key.under and key.name == name]
        if elsewhere:
            raise ConfigError(f"{name} belongs to {' or '.join(elsewhere)}; add that to the command")
        raise ConfigError(f"unknown key {name}{did_you_mean(name, (key.name for key in valid)) or '; --help lists all settings'}")
    return chosen


def _jobs(config_class: type, overrides: Sequence[str]) -> list[list[str]]:
    """Expand the sweeps of `--multirun` (a=1,2 and b=range(3)) to one list of overrides a job, in Hydra's order."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(overrides)), max_batch_size=None)
    except HydraException as error:
        raise ConfigError(_reason(error, overrides)) from error
    return [list(job) for batch in batches for job in batch]


def _run(main: Callable[[C], object], config: C) -> None:
    """Leave the composed config in the run folder and run; a run that the user must mend leaves no trace of its config."""
    from omegaconf import OmegaConf

    path = Path(config.out) / "config.yaml"  # type: ignore[attr-defined]
    if not is_main_process():
        main(config)
        return
    new_folders = [p for p in (path.parent, *path.parent.parents) if not p.exists()]
    before = path.read_text() if path.is_file() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace_text(path, OmegaConf.to_yaml(OmegaConf.create(to_plain(config))))
    try:
        main(config)
    except UserError as error:
        if error.exit_code == 2:
            _restore(path, before, new_folders)
        raise
    except Exception:
        _restore(path, before, new_folders)
        raise


def _restore(path: Path, before: str | None, new_folders: Sequence[Path]) -> None:
    if before is not None:
        _replace_text(path, before)
        return
    if any(p != path for p in path.parent.iterdir()):
        return  # the run left results: its config stays beside them
    path.unlink()
    for folder in new_folders:
        folder.rmdir()


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


@contextmanager
def _one_line(name: str, errors: Sequence[ErrorFamily]) -> Iterator[None]:
    """Turn errors that the user can mend to one line and an exit code; others keep their traceback."""
    try:
        yield
    except KeyboardInterrupt:
        _fail(name, "interrupted", 130)
    except Exception as error:
        usage = _find(error, ("click.exceptions.ClickException", "typer._click.exceptions.ClickException"))
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error}\n")
            sys.exit(2)
        if type(error).__name__ == "Abort":
            _fail(name, "interrupted", 130)
        if usage:
            # Click words a near miss in two ways; every command of the house says it in one.
            message = re.sub(r" \(Possible options: ([^)]*)\)", r" Did you mean \1?", error.format_message())  # type: ignore[attr-defined]
            _fail(name, message, 2)
        if not isinstance(error, _MENDABLE) and not _find(error, errors):
            raise
        if type(error) is FileNotFoundError and error.filename is not None:
            _fail(name, f"{error.filename}: no such file or folder", 2)
        _fail(name, str(error) or type(error).__name__, getattr(error, "exit_code", 2))


def _find(error: Exception, families: Sequence[ErrorFamily]) -> bool:
    names = {f if isinstance(f, str) else f"{f.__module__}.{f.__qualname__}" for f in families}
    return any(f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(error).__mro__)


def _fail(name: str, message: str, code: int) -> NoReturn:
    sys.stderr.write(f"{name}: error: {' '.join(message.split())}\n")
    sys.exit(code)


def _reason(error: BaseException, overrides: Sequence[str]) -> str:
    """Find the innermost message, its first line, and the setting that it is about."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    key = getattr(inner, "full_key", None)
    text = str(inner).splitlines()[0] if str(inner) else type(inner).__name__
    about = next((o for o in overrides if key and o.partition("=")[0] == key), key)
    return f"{about}: {text}" if about else text


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "\\'")


def _help_text(config_class: type, name: str, help: str, examples: Sequence[str]) -> str:
    keys = keys_of(config_class)
    left = [
        f"{key.name}={'REQUIRED' if key.required else key.default}" if not key.branch or key.default else f"{key.name}." for key in keys
    ]
    width = min(max(len(text) for text in left), 44)
    rows = [
        f"  {text:<{width}}  {f'[{key.under[0]}={key.under[1]}] ' if key.under else ''}{key.help}".rstrip()
        for text, key in zip(left, keys, strict=True)
    ]
    lines = [
        f"{name}: {help}",
        "",
        f"Usage: {name} key=value ... [-m]",
        "",
        "Settings, with their defaults (nested ones with dots, lists as [1,2], no value as null, spaces in quotes: \"key='a b'\"):",
        *rows,
        "",
        "out=DIR is the run folder: results go there, and the settings as config.yaml. The same command goes on where an earlier one stopped.",
        "-m, --multirun runs every combination of values with commas (key=1,2) one after another, in DIR/0, DIR/1, ...",
        "Exit codes: 0 done, 2 something to mend (one line says what), 130 or 143 stopped by Ctrl-C or SIGTERM after saving.",
    ]
    if examples:
        lines += ["", "Examples:", *(f"  {example}" for example in examples)]
    return "\n".join(lines)
