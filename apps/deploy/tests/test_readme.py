import re
from pathlib import Path

from typer.main import get_command

from med_deploy.cli import app

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_commands_of_the_readme_name_options_that_exist():
    commands = get_command(app).commands
    lines = re.findall(r"^med-deploy (\w+)\s+(.*)$", README.read_text(), re.MULTILINE)
    assert {verb for verb, _ in lines} == set(commands)
    for verb, rest in lines:
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known
