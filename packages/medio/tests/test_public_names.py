"""The public names of medio: all there, each in one place, and none paid for before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import medio


def test_every_public_name_is_found_where_it_is_said_to_be() -> None:
    for name in medio.__all__:
        value = getattr(medio, name)
        assert not isinstance(value, type(sys)), f"{name} is a module: a submodule of the same name hides it"
    assert set(medio.__all__) == set(medio._HOME_OF)
    assert set(medio.__all__) <= set(dir(medio))


def test_what_type_checkers_see_is_what_runs() -> None:
    tree = ast.parse(Path(str(medio.__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == medio._HOME_OF


def test_names_stay_functions_whatever_is_imported_first() -> None:
    code = "import medio.reading, medio.loading.dicom_dataset, medio.recipes, medio.pacs; import medio; print(all(callable(getattr(medio, n)) for n in ('read', 'scan', 'series', 'crop', 'window')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_importing_medio_loads_nothing_heavy() -> None:
    code = "import sys, medio; print(sorted({'numpy', 'pydicom', 'blosc2', 'pyarrow', 'scipy', 'highdicom', 'nibabel', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(medio, "no_such_name")
