"""Type checkers know every public name: `typed_use.py` uses each, and mypy and pyright find no error in it."""

from __future__ import annotations

import ast
import inspect
import os
import pydoc
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.options import MeasureOptions, declared

USE = Path(__file__).resolve().parent / "typed_use.py"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CLASSES = (concmem.Measurement, concmem.Figure, concmem.Exit, concmem.Process, concmem.Running, concmem.Reading)
FUNCTIONS = (concmem.measure, concmem.start, concmem.measure_async, concmem.start_async, concmem.compare)


def test_every_public_name_is_used() -> None:
    """The file uses each public name, each attribute of the classes that users meet, and each option."""
    nodes = list(ast.walk(ast.parse(USE.read_text(encoding="utf-8"))))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    names = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "concmem"}
    assert set(concmem.__all__) - names == set()
    public = {
        name
        for each in CLASSES
        for base in each.__mro__
        if base.__module__.startswith("concmem.") and "._" not in base.__module__
        for name in (*vars(base), *vars(base).get("__annotations__", ()))
        if not name.startswith("_")
    }
    assert public - {node.attr for node in attributes} == set()
    assert set(declared(MeasureOptions)) - {node.arg for node in nodes if isinstance(node, ast.keyword)} == set()


def checked(command: list[str], *files: Path) -> None:
    """Run a type checker, which must find no error. An editable concmem is found by its path."""
    folder = Path(concmem.__file__).parents[1]
    paths = {} if folder.name == "site-packages" else {"MYPYPATH": str(folder), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*command, *map(str, files)], cwd=files[0].parent, env=os.environ | paths, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_mypy_finds_no_error(tmp_path: Path) -> None:
    """Mypy finds no error with ``--strict``, in the file and in the examples."""
    pytest.importorskip("mypy", reason="mypy is missing: pip install mypy")
    files = [Path(shutil.copy(path, tmp_path)) for path in (USE, *EXAMPLES.glob("*.py"))]
    checked(
        [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "--follow-imports=silent",
         "--disable-error-code=import-untyped", "--disable-error-code=import-not-found"],
        *files,
    )  # fmt: skip


@pytest.mark.slow
def test_pyright_finds_no_error(tmp_path: Path) -> None:
    """The same with pyright, which is no package of Python: its package on PyPI downloads Node.js."""
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is missing: npm install --global pyright")
    checked([pyright, "--pythonpath", sys.executable], Path(shutil.copy(USE, tmp_path)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_signatures_and_help_are_complete(function: Callable[..., Any]) -> None:
    """Each parameter is in the signature with its type, and in the text of `help`; no ``**options`` is left."""
    signature = inspect.signature(function)
    text = pydoc.render_doc(function, renderer=pydoc.plaintext)
    assert signature.return_annotation is not signature.empty
    for name, parameter in signature.parameters.items():
        assert parameter.kind is not parameter.VAR_KEYWORD
        assert parameter.annotation is not parameter.empty
        assert f" {name}: " in text.partition("Args:")[2]
    assert "{options}" not in text
    _, _, body = text.partition("Args:")
    assert max(map(len, body.splitlines())) <= 120
    for name in concmem.__all__:
        if name.endswith("Error") and name in text:
            assert issubclass(getattr(concmem, name), Exception)
