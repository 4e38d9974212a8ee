"""First use: a system without compiler or headers, and a Python that is started beside the checkout."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="requires a checkout: only an installed concmem is here"
)


@pytest.fixture
def bare_system(tmp_path: Path) -> dict[str, str]:
    """An environment with a compiler that finds only the headers named in HEADERS."""
    compiler = tmp_path / "bin/cc"
    compiler.parent.mkdir()
    compiler.write_text(
        '#!/bin/sh\nread -r line\nfor have in $HEADERS; do [ "$line" = "#include <$have>" ] && exit 0; done\nexit 1\n'
    )
    compiler.chmod(0o755)
    return {"PATH": f"{compiler.parent}:/usr/bin:/bin", "CC": "", "HEADERS": ""}


def _missing(environment: dict[str, str]) -> tuple[str, ...]:
    checks = runpy.run_path(str(ROOT / "scripts/compiler_check.py"))
    found: tuple[str, ...] = checks["missing"](environment)
    return found


def test_missing_requirements_of_a_build(bare_system: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing compiler, missing headers of the C library and a missing Python.h are detected."""
    assert _missing({**bare_system, "HEADERS": "stdlib.h Python.h"}) == ()
    assert _missing({**bare_system, "HEADERS": "stdlib.h"}) == ("Python.h",)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/nowhere")
    assert _missing({**bare_system, "HEADERS": ""}) == ("the C library's headers", "Python.h")
    assert _missing({**bare_system, "CC": "no-such-compiler -m64"})[0] == "a C compiler"
    assert _missing({"PATH": "/nowhere"})[0] == "a C compiler"


@pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable"])
def test_a_build_ends_with_one_sentence(bare_system: dict[str, str], hook: str) -> None:
    """Without Python.h, pip's first call of the build backend ends with one sentence that names the package."""
    script = f"import sys; sys.path.insert(0, 'scripts'); import build_backend; build_backend.{hook}()"
    environment = {**os.environ, **bare_system, "HEADERS": "stdlib.h"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: concmem cannot be compiled: Python.h of Python 3.")
    assert "apt-get install python3" in line and "-dev" in line and "python3-devel" in line


def test_setup_py_by_itself(bare_system: dict[str, str], tmp_path: Path) -> None:
    """If setup.py is called without pip, the check comes before any compilation."""
    environment = {**os.environ, **bare_system, "HEADERS": "stdlib.h"}
    argv = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path, "--build-temp", tmp_path]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: concmem cannot be compiled: Python.h")
    assert not list(tmp_path.rglob("*.o"))


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder that contains a checkout named concmem."""
    (tmp_path / "concmem").mkdir()
    (tmp_path / "concmem/__init__.py").write_bytes((ROOT / "__init__.py").read_bytes())
    (tmp_path / "concmem/concmem").symlink_to(ROOT / "concmem")
    return tmp_path


def _python(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True)


def test_import_from_beside_the_checkout(beside: Path) -> None:
    """In the folder that contains the checkout, the installed concmem is imported completely."""
    installed = subprocess.run(
        [sys.executable, "-c", "import concmem; print(concmem.__file__)"], cwd="/", capture_output=True, text=True
    ).stdout
    script = (
        "import concmem, concmem.units, concmem; print(concmem.__file__); concmem.measure(['/bin/true']).peak.bytes"
    )
    done = _python(beside, "-c", script)
    assert (done.returncode, done.stdout) == (0, installed), done.stderr
    module = _python(beside, "-m", "concmem", "--version")
    assert (module.returncode, module.stdout[:8]) == (0, "concmem,"), module.stderr


def test_import_where_it_is_not_installed(beside: Path) -> None:
    """If concmem is not installed for a Python, the error has the command that installs it."""
    done = _python(beside, "-S", "-c", "import concmem")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: concmem is not installed for {sys.executable} (")
    assert last.endswith(f"pip install {beside / 'concmem'}")
