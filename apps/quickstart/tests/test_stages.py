"""A stage runs once for its settings; what it rests on decides whether it runs again."""

import json
from pathlib import Path

import pytest

from med_quickstart.stages import Stages, prepare_folder, write_json
from medrun.cli import UserError

ABOUT = {"source": "here", "recipe": "segmentation"}


def run_all(root: Path, ran: list[str], *, a: int = 1, b: int = 1) -> Stages:
    prepare_folder(root, fresh=False, of=ABOUT)
    stages = Stages(root, total=2)

    def work(name: str, value: int):
        def do(folder: Path) -> dict[str, int]:
            ran.append(name)
            (folder / "left.txt").write_text(str(value))
            return {"value": value}

        return do

    first = stages.run("first", "first", {"a": a}, work("first", a))
    stages.run("second", "second", {"b": b}, work("second", first["value"] + b))
    return stages


def test_a_finished_stage_is_not_run_again(tmp_path):
    ran: list[str] = []
    run_all(tmp_path, ran)
    run_all(tmp_path, ran)
    assert ran == ["first", "second"]


@pytest.mark.parametrize(("change", "again"), [({"b": 2}, ["second"]), ({"a": 2}, ["first", "second"])])
def test_a_changed_setting_redoes_the_stage_and_all_after_it(tmp_path, change, again):
    ran: list[str] = []
    run_all(tmp_path, ran)
    ran.clear()
    run_all(tmp_path, ran, **change)
    assert ran == again


def test_a_stage_that_was_cut_off_keeps_its_folder_and_runs_again(tmp_path):
    prepare_folder(tmp_path, fresh=False, of=ABOUT)

    def cut(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, 1).run("one", "one", {}, cut)
    seen = Stages(tmp_path, 1).run("one", "one", {}, lambda folder: {"half": (folder / "half").exists()})
    assert seen == {"half": True}


def test_a_stage_of_other_settings_starts_in_an_empty_folder(tmp_path):
    prepare_folder(tmp_path, fresh=False, of=ABOUT)
    Stages(tmp_path, 1).run("one", "one", {"v": 1}, lambda folder: {"n": (folder / "old").write_text("x")})
    seen = Stages(tmp_path, 1).run("one", "one", {"v": 2}, lambda folder: {"old": (folder / "old").exists()})
    assert seen == {"old": False}


def test_a_result_that_was_cut_off_counts_as_absent(tmp_path):
    ran: list[str] = []
    run_all(tmp_path, ran)
    (tmp_path / "stages" / "second.json").write_text('{"fingerprint": "')
    ran.clear()
    run_all(tmp_path, ran)
    assert ran == ["second"]


def test_a_folder_of_other_files_is_not_taken_over(tmp_path):
    (tmp_path / "thesis.docx").write_text("x")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.docx\); choose an empty run folder with out=DIR"):
        prepare_folder(tmp_path, fresh=True, of=ABOUT)
    assert (tmp_path / "thesis.docx").exists()


def test_fresh_empties_an_earlier_run(tmp_path):
    run_all(tmp_path, [])
    prepare_folder(tmp_path, fresh=True, of=ABOUT)
    assert {p.name for p in tmp_path.iterdir()} == {"stages"}


def test_a_run_about_another_source_is_not_overwritten_unless_asked(tmp_path):
    run_all(tmp_path, [])
    with pytest.raises(UserError, match=r"holds a run about source here, recipe segmentation, this one is about source there"):
        prepare_folder(tmp_path, fresh=False, of={**ABOUT, "source": "there"})
    assert (tmp_path / "first").exists()
    prepare_folder(tmp_path, fresh=True, of={**ABOUT, "source": "there"})
    assert not (tmp_path / "first").exists()


def test_a_run_that_finished_nothing_gives_its_folder_to_the_next(tmp_path):
    prepare_folder(tmp_path, fresh=False, of=ABOUT)
    prepare_folder(tmp_path, fresh=False, of={**ABOUT, "source": "there"})


def test_json_of_nan_is_refused_and_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", {"v": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"v": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"v": 1}
