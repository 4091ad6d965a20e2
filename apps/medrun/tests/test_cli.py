import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import typer

from medrun.cli import UserError, choice, hydra_app, option, progress, run_typer, table
from medrun.configs import keys_of


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    lr: float = option(1e-3, "learning rate")

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")


@dataclass(frozen=True)
class Phantom:
    patients: int = option(4, "how many")


@dataclass(frozen=True)
class Folder:
    path: Path = option(Path("here"), "where images lie")


@dataclass(frozen=True, kw_only=True)
class Config:
    data: Path = option(help="folder of shards")
    out: Path = option(Path("run"), "run folder")
    size: tuple[int, ...] = option((64, 64), "crop")
    pair: tuple[float, float] | None = option(None, "two numbers")
    task: Literal["segmentation", "classification"] = option("segmentation", "what to learn")
    fast: bool = option(False, "less work")
    optimiser: Optimiser = option(Optimiser(lr=0.5), "optimiser")
    source: Phantom | Folder = choice({"phantom": Phantom, "folder": Folder}, "phantom", "where images come from")


class ShopError(Exception):
    pass


Run = Callable[..., tuple[int, list[Config], str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str, act: Callable[[Config], None] = lambda config: None) -> tuple[int, list[Config], str, str]:
        seen: list[Config] = []

        @hydra_app(
            Config, name="med-shop", help="Sell shards.", errors=(f"{ShopError.__module__}.ShopError",), examples=("med-shop data=DIR",)
        )
        def main(config: Config) -> None:
            seen.append(config)
            act(config)

        code = 0
        try:
            main([f"out={tmp_path / 'run'}", *words])  # type: ignore[call-arg]
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, seen, out, err

    return call


def test_values_come_with_their_types(run: Run) -> None:
    _, (config,), _, _ = run(
        "data=a/b-c_1.d", "size=[1,2,3]", "pair=[1,2]", "optimiser.lr=1e-4", "fast=true", "source=folder", "source.path='x y'"
    )
    assert (config.data, config.size, config.pair) == (Path("a/b-c_1.d"), (1, 2, 3), (1.0, 2.0))
    assert (config.optimiser.lr, config.fast, config.source) == (1e-4, True, Folder(Path("x y")))
    assert isinstance(config.size, tuple)


def test_a_group_of_one_command_is_no_group_of_the_next(run: Run) -> None:
    from hydra.core.config_store import ConfigStore

    before = dict(ConfigStore.instance().repo)
    assert run("data=x", "source=folder", "source.path=y")[0] == 0
    assert ConfigStore.instance().repo == before


def test_a_nested_default_of_the_outer_class_wins(run: Run) -> None:
    assert run("data=x")[1][0].optimiser.lr == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "missing data=VALUE (folder of shards)"),
        (("data=x", "dat=y"), "unknown key dat; did you mean data?"),
        (("data=x", "lr=1"), "unknown key lr; did you mean optimiser.lr?"),
        (("data=x", "optimizer.lr=1"), "unknown key optimizer.lr; did you mean optimiser.lr?"),
        (("data=x", "+extra=1"), "unknown key extra"),
        (("data=x", "optimiser.lr=fast"), "optimiser.lr=fast: Value 'fast' of type 'str' could not be converted to Float"),
        (("data=x", "optimiser.lr=-1"), "optimiser: lr must be positive, got -1.0"),
        (("data=x", "task=segmentatoin"), "did you mean segmentation?"),
        (("data=x", "pair=[1,2,3]"), "pair needs 2 values"),
        (("data=x", "size=[a]"), "could not be converted to Integer"),
        (("data=x", "source.path=y"), "source.path belongs to source=folder; add that to the command"),
        (("data=x", "source=fodler"), "source must be one of folder, phantom, got 'fodler'; did you mean folder?"),
        (("data=x", "--fast"), "unknown option --fast; settings are written key=value; did you mean fast?"),
        (("data=x", "fast"), "'fast' is not a setting; write key=value; did you mean fast?"),
        (("data=a b(",), "needs quotes"),
        (("data=x", "optimiser.lr=1,2"), "optimiser.lr=1,2"),
        (("data=null",), "data"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(run: Run, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, seen, _, err = run(*words)
    assert code == 2
    assert not seen
    assert err.startswith("med-shop: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_help_names_every_key_with_its_default(run: Run) -> None:
    code, _, out, _ = run("--help")
    assert code == 0
    assert out.startswith("med-shop: Sell shards.")
    for text in ("data=REQUIRED", "size=[64,64]", "pair=null", "fast=false", "optimiser.lr=0.5", "(phantom | folder)", "med-shop data=DIR"):
        assert text in out
    assert all(key.name in out and key.help in out for key in keys_of(Config))


def test_the_composed_config_lies_in_the_run_folder(run: Run, tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    run("data=x", "source=folder")
    saved = OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml"))
    assert isinstance(saved, dict)
    assert saved["optimiser"] == {"lr": 0.5}
    assert saved["source"] == {"choice": "folder", "path": "here"}
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_an_error_that_the_user_mends_leaves_no_folder_behind(run: Run, tmp_path: Path) -> None:
    def fail(config: Config) -> None:
        raise ShopError("x.dcm: closed\nbuy elsewhere")

    code, _, _, err = run("data=x", act=fail)
    assert (code, err) == (2, "med-shop: error: x.dcm: closed buy elsewhere\n")
    assert not (tmp_path / "run").exists()
    run("data=good")
    before = (tmp_path / "run" / "config.yaml").read_text()
    run("data=x", act=fail)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_a_fault_of_the_program_keeps_its_traceback(run: Run) -> None:
    def fail(config: Config) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        run("data=x", act=fail)


def test_an_interrupt_exits_with_130(run: Run) -> None:
    def interrupt(config: Config) -> None:
        raise KeyboardInterrupt

    assert run("data=x", act=interrupt)[0] == 130


def test_multirun_runs_every_combination_in_its_own_folder(run: Run, tmp_path: Path) -> None:
    code, seen, _, _ = run("-m", "data=x", "optimiser.lr=0.1,0.2", "fast=true,false")
    assert code == 0
    assert [(c.optimiser.lr, c.fast, c.out.name) for c in seen] == [
        (0.1, True, "0"),
        (0.1, False, "1"),
        (0.2, True, "2"),
        (0.2, False, "3"),
    ]
    assert (tmp_path / "run" / "3" / "config.yaml").is_file()


def test_a_config_without_a_run_folder_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="needs a field `out`"):
        hydra_app(Optimiser, name="x", help="x")


def test_importing_the_command_line_does_not_import_torch() -> None:
    code = "import sys, medrun, medrun.cli, medrun.registry_cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_command_lets_openmp_sleep_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from medrun.cpu import prepare

    monkeypatch.delenv("OMP_WAIT_POLICY")
    prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


tool = typer.Typer(no_args_is_help=True)


@tool.command()
def pack(path: Path, fail: str = "") -> None:
    """Pack a parcel."""
    if fail == "user":
        raise UserError("no paper")
    if fail == "shop":
        raise ShopError("shut")
    if fail == "file":
        path.read_text()
    if fail == "exit":
        raise typer.Exit(7)
    if fail == "interrupt":
        raise KeyboardInterrupt


@tool.command()
def send() -> None:
    """Send it."""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pack", "x"], 0, ""),
        (["pack", "x", "--fail", "user"], 2, "med-tool: error: no paper\n"),
        (["pack", "x", "--fail", "shop"], 2, "med-tool: error: shut\n"),
        (["pack", "/absent", "--fail", "file"], 2, "med-tool: error: /absent: no such file or folder\n"),
        (["pack", "x", "--fail", "exit"], 7, ""),
        (["pack", "x", "--fail", "interrupt"], 130, ""),
        (["pakc", "x"], 2, "pack"),
        (["pack", "x", "--fial", "a"], 2, "--fail"),
        ([], 2, "Usage"),
    ],
)
def test_a_typer_command_ends_with_one_line_and_a_code(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_typer(tool, name="med-tool", errors=(ShopError,), argv=words)
    said = capsys.readouterr()
    assert (end.value.code or 0) == code
    assert message in said.err + (said.out if not words else "")


def test_progress_without_a_terminal_is_a_line_at_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(40, "reading") as advance:
        for _ in range(40):
            advance(note="loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("reading: 4/40 (10 %), loss 1")
    assert lines[-1].startswith("reading: 40/40 (100 %)")


def test_other_ranks_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    table("t", [["a", 1]])
    with progress(1, "p") as advance:
        advance()
    assert capsys.readouterr() == ("", "")


def test_a_table_shows_its_cells_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table("Figures", [["dice[0]", 0.5]], columns=("name", "value"))
    out = capsys.readouterr().out
    assert "dice[0]" in out
    assert "name" in out
