"""The shape of the house: arrows between members, what each member carries, what the settings promise."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("apps/*/pyproject.toml")])
NAMES = [m.parent.name for m in MEMBERS]
# Distribution name -> top-level module, where they differ.
MODULES = {
    "pyyaml": "yaml",
    "hydra-core": "hydra",
    "onnxruntime-gpu": "onnxruntime",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "protobuf": "google",
    "python-gdcm": "gdcm",
}


def project(member: Path) -> dict:
    return tomllib.loads(member.read_text())["project"]


def module_folder(member: Path) -> Path:
    return next(p.parent for p in (member.parent / "src").glob("*/py.typed"))


def distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def test_the_arrows_of_the_design_hold():
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "0 broken" in run.stdout


@pytest.mark.parametrize("member", MEMBERS, ids=NAMES)
def test_a_member_carries_what_a_distribution_needs(member: Path):
    folder, meta = member.parent, project(member)
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "tests"):
        assert (folder / name).exists(), f"{folder.name} lacks {name}"
    assert list((folder / "tests").glob("test_*.py")), f"{folder.name} has no test"
    assert re.search(rf"^## \[?{re.escape(meta['version'])}\]?", (folder / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert meta["requires-python"] == ">=3.11,<3.14"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("member", MEMBERS, ids=NAMES)
def test_a_members_test_group_holds_what_the_shared_settings_need(member: Path):
    # pytest's settings name a timeout and the root conftest imports hypothesis: without them a member's tests do not even start alone.
    group = tomllib.loads(member.read_text())["dependency-groups"]["test"]
    assert {"pytest", "pytest-timeout", "hypothesis"} <= {distribution(line) for line in group}


def imported(folder: Path) -> set[str]:
    """Top-level modules that the sources import, wherever the import stands."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("member", MEMBERS, ids=NAMES)
def test_a_member_declares_what_it_imports_and_nothing_else(member: Path):
    meta, folder = project(member), module_folder(member)
    lines = [*meta.get("dependencies", []), *(d for extra in meta.get("optional-dependencies", {}).values() for d in extra)]
    declared = {MODULES.get(d, d).replace("-", "_").lower() for d in map(distribution, lines)}
    used = {name.lower() for name in imported(folder)} - {folder.name.lower()}
    assert used - declared == set(), f"{folder.name} imports what it does not declare"
    # An exporter or a backend that another library loads by name has no import statement of its own.
    loaded_by_name = {"meddeploy": {"onnxscript", "meddeploy"}, "medio": {"s3fs"}}.get(folder.name, set())
    assert declared - used - loaded_by_name == set(), f"{folder.name} declares what it does not import"


@pytest.mark.parametrize(
    "member",
    [m for m in MEMBERS if m.parent.parent.name == "packages"],
    ids=[m.parent.name for m in MEMBERS if m.parent.parent.name == "packages"],
)
def test_a_library_reads_no_environment_and_prints_nothing(member: Path):
    for file in module_folder(member).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            assert name not in ("os.environ", "os.getenv"), f"{file.name} reads the environment"
            if file.name not in ("__main__.py", "show.py"):
                assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"), (
                    f"{file.name} prints"
                )


def test_the_three_keyed_generators_are_one_recipe():
    from medaug.keyed import key_digest as aug
    from medio.keyed import key_digest as io
    from medmodels.keyed import key_digest as models

    for key in [(0, 0, "a", 0), (7, 3, "patient:12/série", 2), (2**40, 1, "", 0)]:
        assert aug(key, "crop") == io(key, "crop") == models(key, "crop")
    # blake2b("1:2:3:s:x", 8 bytes) >> 1, derived with the standard library alone
    import hashlib

    assert io((1, 2, "x", 3), "s") == int.from_bytes(hashlib.blake2b(b"1:2:3:s:x", digest_size=8).digest(), "big") >> 1


def test_every_sync_resolves_alike():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", settings["exclude-newer"])
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()


def test_the_hash_pinned_export_names_no_host():
    text = (ROOT / "requirements/all.txt").read_text()
    assert "://" not in text
    packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(packages) > 50
    assert text.count("--hash=sha256:") >= len(packages)
