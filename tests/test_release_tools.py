"""Which members a change touches, and which tags may release."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("affected", ROOT / ".github/affected.py")
tools = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tools)


def test_a_change_touches_its_member_and_all_that_stand_on_it():
    touched = tools.affected(["packages/medmodels/src/medmodels/registry.py"], tools.members())
    assert {"medmodels", "medpretrain", "medfinetune", "medvlm", "meddeploy", "med-quickstart"} <= set(touched)
    assert {"medio", "medeval", "medaug", "medphantom"}.isdisjoint(touched)


def test_a_change_at_the_root_touches_every_member():
    assert tools.affected(["pyproject.toml"], tools.members()) == sorted(tools.members())


def test_a_change_of_documents_touches_no_member():
    assert tools.affected(["docs/index.md", "README.md"], tools.members()) == []


@pytest.mark.parametrize(
    ("tag", "says"), [("v1.0.0", "is not <package>"), ("nobody-v0.1.0", "is not <package>"), ("medio-v9.9.9", "pyproject.toml says")]
)
def test_a_tag_that_disagrees_is_refused_with_the_reason(tag: str, says: str):
    with pytest.raises(SystemExit, match=says):
        tools.check_tag(tag, tools.members())


def test_an_undated_changelog_is_not_released(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "ROOT", tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - unreleased\n")
    table = {"thing": {"folder": "p", "version": "1.2.3"}}
    with pytest.raises(SystemExit, match="no dated heading"):
        tools.check_tag("thing-v1.2.3", table)
    (tmp_path / "p/CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - 2026-11-24\n")
    assert tools.check_tag("thing-v1.2.3", table) == "thing"
