"""What a change touches, and what a tag releases. Standard library only: it runs before anything is installed."""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def members() -> dict[str, dict[str, Any]]:
    """Every member by distribution name: its folder and its [project] table."""
    found = {}
    for file in sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("apps/*/pyproject.toml")]):
        project = tomllib.loads(file.read_text())["project"]
        found[project["name"]] = {"folder": file.parent.relative_to(ROOT).as_posix(), **project}
    return found


def requires(project: dict[str, Any], names: set[str]) -> set[str]:
    """The siblings that a member declares, in its dependencies or its extras."""
    lines = [*project.get("dependencies", []), *(d for extra in project.get("optional-dependencies", {}).values() for d in extra)]
    return {name for line in lines if (name := re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) in names}


def closure(start: set[str], arrows: dict[str, set[str]]) -> set[str]:
    """All that can be reached from `start` along the arrows, `start` included."""
    seen, todo = set(start), list(start)
    while todo:
        for step in arrows.get(todo.pop(), set()) - seen:
            seen.add(step)
            todo.append(step)
    return seen


def affected(changed: list[str], table: dict[str, dict[str, Any]]) -> list[str]:
    """The members that changed paths touch, and those that stand on them; a path outside every member touches all.

    Documentation and tests that span packages are checked by the job for the whole house.
    """
    names = set(table)
    users: dict[str, set[str]] = {}
    for name, project in table.items():
        for needed in requires(project, names):
            users.setdefault(needed, set()).add(name)
    touched: set[str] = set()
    for path in changed:
        owner = [name for name, project in table.items() if path.startswith(project["folder"] + "/")]
        if owner:
            touched.update(owner)
        elif not path.startswith(("docs/", "tests/")) and not path.endswith(".md"):
            return sorted(names)
    return sorted(closure(touched, users))


def check_tag(tag: str, table: dict[str, dict[str, Any]]) -> str:
    """The package that a tag releases; ends the program with a line that says what disagrees."""
    match = re.fullmatch(r"(?P<name>[a-z-]+)-v(?P<version>\d+\.\d+\.\d+)", tag)
    if not match or match["name"] not in table:
        raise SystemExit(f"tag {tag!r} is not <package>-vX.Y.Z of one of: {', '.join(table)}")
    name, version = match["name"], match["version"]
    project = table[name]
    if project["version"] != version:
        raise SystemExit(f"tag {tag!r} says {version}, {project['folder']}/pyproject.toml says {project['version']}")
    changelog = (ROOT / project["folder"] / "CHANGELOG.md").read_text()
    heading = re.search(rf"^## \[?{re.escape(version)}\]?(.*)$", changelog, flags=re.MULTILINE)
    if not heading or "unreleased" in heading[1].lower():
        raise SystemExit(f"{project['folder']}/CHANGELOG.md has no dated heading '## {version}'")
    return name


def changed_since(base: str) -> list[str]:
    """Paths that differ from `base`; everything where the base is unknown (first push, force push)."""
    run = subprocess.run(["git", "diff", "--name-only", base, "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.split("\n")[:-1] if base and run.returncode == 0 else ["pyproject.toml"]


def main() -> None:
    """Answer one question on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    ask = parser.add_mutually_exclusive_group(required=True)
    ask.add_argument("--base", metavar="REV", help="JSON list of the members affected since REV")
    ask.add_argument("--folder", metavar="NAME", help="the folder of a member")
    ask.add_argument("--extras", metavar="NAME", help="the --extra options with which a member's own tests run")
    ask.add_argument("--siblings", metavar="NAME", help="the members that NAME stands on, one a line")
    ask.add_argument("--check-tag", metavar="TAG", help="the package a tag releases, if all agrees")
    options = parser.parse_args()
    table = members()
    name = options.folder or options.extras or options.siblings
    if name is not None and name not in table:
        raise SystemExit(f"no member is named {name!r}; there are: {', '.join(table)}")
    if options.base is not None:
        answer = json.dumps(affected(changed_since(options.base), table))
    elif options.folder:
        answer = table[name]["folder"]
    elif options.extras:
        # gpu conflicts with cpu by declaration; a member's tests run on a CPU.
        answer = " ".join(
            f"--extra {extra}" for extra in table[name].get("optional-dependencies", {}) if extra not in ("gpu", "openvino", "tensorrt")
        )
    elif options.siblings:
        arrows = {member: requires(project, set(table)) for member, project in table.items()}
        answer = "\n".join(sorted(closure({name}, arrows) - {name}))
    else:
        answer = check_tag(options.check_tag, table)
    sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main()
