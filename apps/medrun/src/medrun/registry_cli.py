"""med-registry: versions of models, their figures, and which one is in use."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medrun.cli import UserError, run_typer, say, table
from medrun.criteria import Criterion
from medrun.registry import Registry, Version

app = typer.Typer(
    help="Keep models in a folder: versions with card, figures and lineage, aliases, promotion by criteria.", no_args_is_help=True
)

Root = Annotated[Path, typer.Option("--root", help="The registry's folder.")]
Reference = Annotated[str, typer.Argument(help="name, name:3 or name:alias.")]


@app.command("list")
def list_versions(
    root: Root = Path("registry"), name: Annotated[str | None, typer.Argument(help="One model; all where left out.")] = None
) -> None:
    """List models and their versions."""
    registry = _open(root)
    versions = [v for n in ([registry.get(name).name] if name else registry.names()) for v in registry.list(n)]
    table(str(root), [_row(registry, v) for v in versions], columns=("version", "registered", "aliases", "figures"))


@app.command()
def show(reference: Reference, root: Root = Path("registry")) -> None:
    """Print all that is known of a version, as JSON."""
    from dataclasses import asdict

    say(json.dumps(asdict(_open(root).get(reference)), indent=2))


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    folder: Annotated[Path, typer.Argument(help="Folder of its files: an artifact or a bundle.")],
    root: Root = Path("registry"),
    metrics: Annotated[
        Path | None, typer.Option(help="JSON of figures: name -> {value, low, high, n}; an evaluation's `estimates` too.")
    ] = None,
    lineage: Annotated[list[str] | None, typer.Option(help="Where it comes from, as key=value; repeat it.")] = None,
) -> None:
    """Copy a model's files into the registry as its next version."""
    words = dict(_pair(word) for word in lineage or [])
    version = Registry(root).register(name, folder, metrics=_figures(metrics) if metrics else None, lineage=words)
    say(f"registered {version}: {len(version.files)} files")


@app.command()
def alias(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    alias: Annotated[str, typer.Argument(help="For example production.")],
    number: Annotated[int, typer.Argument(help="Number of the version.")],
    root: Root = Path("registry"),
    expected: Annotated[
        int | None, typer.Option(help="Version that the alias points at now; leave out where it does not exist yet.")
    ] = None,
) -> None:
    """Point an alias at a version, without criteria, if nobody moved it meanwhile."""
    _open(root).alias(name, alias, number, expected=expected)
    say(f"{name}:{alias} -> {number}")


@app.command()
def promote(
    reference: Reference,
    alias: Annotated[str, typer.Argument(help="For example production.")],
    criterion: Annotated[
        list[str],
        typer.Option(help="dice>=0.85, hd95_mm<=10, 'dice within 0.01' of the current version, 'hd95_mm within 2 less'; repeat it."),
    ],
    root: Root = Path("registry"),
) -> None:
    """Point an alias at a version if its intervals meet every criterion."""
    try:
        criteria = [Criterion.parse(text) for text in criterion]
    except ValueError as error:
        raise UserError(str(error)) from error
    verdict = _open(root).promote(reference, alias, criteria)
    say(*verdict.lines, f"{reference} is now {alias}")


@app.command()
def verify(
    root: Root = Path("registry"), reference: Annotated[str | None, typer.Argument(help="One version; all where left out.")] = None
) -> None:
    """Hash every file again and name those that are not what was registered."""
    faults = _open(root).verify(reference)
    if faults:
        say(*faults)
        raise UserError(f"{len(faults)} files of {root} are missing or corrupt")
    say(f"{root}: all files are as registered")


def main() -> None:
    """Run the command."""
    run_typer(app, name="med-registry")


def _open(root: Path) -> Registry:
    if not (root / "models").is_dir():
        raise UserError(f"{root}: no registry here; give --root, or register a first model")
    return Registry(root)


def _row(registry: Registry, version: Version) -> list[str]:
    aliases = [a for a, n in registry.aliases(version.name).items() if n == version.number]
    figures = [_short(name, figure) for name, figure in version.metrics.items()]
    return [str(version), version.created, ", ".join(aliases), "; ".join(figures[:4])]


def _short(name: str, figure: Any) -> str:
    if figure["value"] is None:
        return f"{name} undefined"
    interval = f" [{figure['low']:.3g}, {figure['high']:.3g}]" if figure["low"] is not None and figure["high"] is not None else ""
    return f"{name} {figure['value']:.3g}{interval}"


def _figures(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the JSON of an evaluation")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    figures = values.get("estimates", values) if isinstance(values, dict) else None
    if not isinstance(figures, dict):
        raise UserError(f"{path}: must hold name -> {{value, low, high, n}}")
    return figures


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    if not sign:
        raise UserError(f"--lineage {word!r}: write key=value")
    return key, value


if __name__ == "__main__":
    main()
