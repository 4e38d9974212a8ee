"""The files in the wheel and the sdist are compared with those in the checkout."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCES = shutil.ignore_patterns(
    ".git",
    ".venv",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    "*.so",
    "concmem-sampler",
    "target",
    ".*_cache",
    ".hypothesis",
)


pytestmark = pytest.mark.xdist_group("packaging")  # one build for all


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist and the wheel built from it: CONCMEM_DIST, or built here."""
    if given := os.environ.get("CONCMEM_DIST"):
        return Path(given)
    if not (ROOT / "setup.py").exists():
        pytest.skip("requires a checkout: only an installed concmem is here")
    # In a copy, because a build leaves files.
    checkout = tmp_path_factory.mktemp("checkout") / "concmem"
    shutil.copytree(ROOT, checkout, ignore=NOT_SOURCES)
    environment = runpy.run_path(str(ROOT / "scripts/make_venv.py"))["build_environment"](sys.prefix)
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def _files_below(folder: str) -> set[str]:
    """Return the checkout's own files below a folder, without what builds, interpreters and tests write."""
    made = {"__pycache__", ".hypothesis", "target", "node_modules", "bin", "obj"}
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        str(path)
        for path in paths
        if not made & set(path.parts) and path.suffix not in (".so", ".npz") and path.name != "concmem-sampler"
    }


def _wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


def test_one_wheel_for_every_python(dist: Path) -> None:
    """The wheel is for the stable ABI of CPython 3.10 and later."""
    (path,) = dist.glob("*.whl")
    assert "-cp310-abi3-linux_" in path.name


def test_wheel_contains_only_the_package(dist: Path) -> None:
    """The wheel has modules, type marker, extension, sampler and programs, but no C files, tests or temporary files."""
    with _wheel(dist) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    programs = {f"concmem/{name}" for name in _files_below("programs")}
    native = {"concmem/_native/_core.abi3.so", "concmem/concmem-sampler"}
    native |= {f"concmem/known/{Path(name).stem}" for name in _files_below("programs/known") if name.endswith(".c")}
    assert names == _files_below("concmem") | programs | native


def test_sampler_is_executable(dist: Path) -> None:
    """The sampler has execute permission, and is an ELF program."""
    with _wheel(dist) as wheel:
        assert (wheel.getinfo("concmem/concmem-sampler").external_attr >> 16) & 0o777 == 0o755
        assert wheel.read("concmem/concmem-sampler")[:4] == b"\x7fELF"


def test_sdist_contains_what_build_and_tests_need(dist: Path) -> None:
    """The sdist is sufficient to build, test and benchmark concmem."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expected = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "__init__.py",
        "pyproject.toml",
        "setup.py",
        ".ci/run",
    }
    for folder in ("csrc", "tests", "scripts", "programs", "docs", "benchmarks", "examples"):
        expected |= _files_below(folder)
    assert expected <= names


def test_metadata(dist: Path) -> None:
    """The wheel names the licence, the command, the oldest Python and the report extra."""
    with _wheel(dist) as wheel:
        by_name = {name.rpartition("/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
        metadata = wheel.read(by_name["METADATA"]).decode()
        commands = wheel.read(by_name["entry_points.txt"]).decode()
        assert commands == "[console_scripts]\nconcmem = concmem.__main__:main\n"
    for line in ("License-Expression: MIT", "Requires-Python: >=3.10", "Provides-Extra: report"):
        assert f"\n{line}\n" in metadata


def test_installed_version_is_that_of_the_package() -> None:
    """The version is the same in pip and in the package."""
    import importlib.metadata

    import concmem

    assert importlib.metadata.version("concmem") == concmem.__version__
