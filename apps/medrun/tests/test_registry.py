import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from medrun import Criterion, PromotionError, Registry, RegistryError
from medrun.cli import run_typer
from medrun.registry_cli import app


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "sub" / "notes.txt").write_text("notes")
    (folder / "artifact.json").write_text(json.dumps({"card": {"arch": "resunet_tiny"}}))
    return folder


def dice(value: float, low: float, high: float) -> dict[str, Any]:
    return {"dice": {"value": value, "low": low, "high": high, "n": 9}}


def test_a_version_keeps_files_card_figures_and_lineage(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    registry.register("lung", model, metrics=dice(0.9, 0.8, 0.95), lineage={"code": "abc", "data": "123"})
    version = Registry(tmp_path / "reg").get("lung")
    assert (version.number, version.card, version.lineage["data"]) == (1, {"arch": "resunet_tiny"}, "123")
    assert version.metrics["dice"] == {"value": 0.9, "low": 0.8, "high": 0.95, "n": 9.0}
    out = registry.export("lung:1", tmp_path / "copy")
    assert (out / "sub" / "notes.txt").read_text() == "notes"
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["artifact.json", "notes.txt", "weights.bin"]


def test_equal_files_are_stored_once(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    for _ in range(3):
        registry.register("lung", model)
    assert len([p for p in (tmp_path / "reg" / "blobs").rglob("*") if p.is_file()]) == 3
    assert [v.number for v in registry.list("lung")] == [1, 2, 3]


def _register(arguments: tuple[Path, Path]) -> int:
    return Registry(arguments[0]).register("lung", arguments[1]).number


def test_registrations_of_several_processes_do_not_collide(tmp_path: Path, model: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        numbers = pool.map(_register, [(tmp_path / "reg", model)] * 12, chunksize=1)
    assert sorted(numbers) == list(range(1, 13))
    registry = Registry(tmp_path / "reg")
    assert [e["version"] for e in registry.events()] == list(range(1, 13))
    assert registry.verify() == ()


def test_an_alias_moves_only_from_where_it_was_seen(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    for _ in range(3):
        registry.register("lung", model)
    registry.alias("lung", "production", 1)
    registry.alias("lung", "production", 2, expected=1)
    with pytest.raises(RegistryError, match="points at 2, not at 1"):
        registry.alias("lung", "production", 3, expected=1)
    with pytest.raises(RegistryError, match="points at 2, not at nothing"):
        registry.alias("lung", "production", 3)
    assert registry.get("lung:production").number == 2


def test_promotion_moves_the_alias_only_when_shown_better(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    registry.register("lung", model, metrics=dice(0.90, 0.88, 0.92))
    registry.register("lung", model, metrics=dice(0.91, 0.80, 0.97))
    criteria = [Criterion.parse("dice within 0.05")]
    registry.promote("lung:1", "production", criteria)
    with pytest.raises(
        PromotionError, match=r"lung:2 does not become production: dice 0\.91 .* worse than the current 0\.9 by more than 0\.05"
    ):
        registry.promote("lung:2", "production", criteria)
    assert registry.aliases("lung") == {"production": 1}
    assert [e["event"] for e in registry.events()] == ["register", "register", "alias", "refuse"]


def test_verify_names_the_corrupt_file_and_registering_again_mends_it(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    version = registry.register("lung", model)
    blob = next((tmp_path / "reg" / "blobs").rglob(version.files["weights.bin"]))
    blob.write_bytes(b"weightz")
    (fault,) = registry.verify()
    assert "lung:1 weights.bin" in fault
    with pytest.raises(RegistryError, match=r"weights\.bin"):
        registry.export("lung:1", tmp_path / "copy")
    registry.register("lung", model)
    assert registry.verify() == ()


def test_unknown_names_come_with_a_suggestion(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path / "reg")
    registry.register("lung", model)
    registry.alias("lung", "production", 1)
    for wrong, hint in (("lugn", "did you mean lung"), ("lung:7", "it has 1, production"), ("lung:prodution", "did you mean production")):
        with pytest.raises(RegistryError, match=hint):
            registry.get(wrong)
    with pytest.raises(RegistryError, match="letters, digits"):
        registry.register("../lung", model)
    with pytest.raises(FileNotFoundError, match="give the folder"):
        registry.register("lung", tmp_path / "absent")


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        run_typer(app, name="med-registry", argv=[str(w) for w in words])
    return int(caught.value.code or 0)


def test_the_command_registers_lists_promotes_and_verifies(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "reg"
    figures = tmp_path / "metrics.json"
    figures.write_text(json.dumps({"estimates": dice(0.9, 0.86, 0.94)}))
    assert command("register", "lung", model, "--root", root, "--metrics", figures, "--lineage", "code=abc") == 0
    assert command("promote", "lung:1", "production", "--criterion", "dice>=0.85", "--root", root) == 0
    assert command("list", "--root", root) == 0
    out = capsys.readouterr().out
    assert "lung:1" in out
    assert "production" in out
    assert "dice 0.9 [0.86, 0.94]" in out
    assert command("show", "lung:production", "--root", root) == 0
    assert json.loads(capsys.readouterr().out)["lineage"] == {"code": "abc"}
    assert command("promote", "lung:1", "best", "--criterion", "dice>=0.95", "--root", root) == 2
    assert command("verify", "--root", root) == 0
    next((root / "blobs").rglob("*/*")).write_bytes(b"")
    assert command("verify", "--root", root) == 2
    error = capsys.readouterr().err
    assert "med-registry: error: lung:1 does not become best: dice" in error
    assert "1 files of" in error


def test_the_command_refuses_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("list", "--root", tmp_path / "absent") == 2
    assert command("lst") == 2
    assert command("list", "--rot", tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "no registry here" in lines[0]
    assert "list" in lines[1]
    assert "--root" in lines[2]
    assert len(lines) == 3
