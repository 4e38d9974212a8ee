"""Compile the C programs of ``tests/c``, alone or with files of the sampler."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["compile_c", "sanitizing_compiler"]

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "")) or ["cc"]


def compile_c(program: Path, name: str, *sources: Path) -> Path:
    """Build `program` from ``tests/c/NAME.c`` and other sources. Skip the test if there is no compiler."""
    compiler = _compiler()
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{CSRC}"]
    try:
        subprocess.run([*compiler, *flags, "-o", program, ROOT / f"tests/c/{name}.c", *sources], check=True)
    except FileNotFoundError:
        pytest.skip(f"there is no C compiler ({compiler[0]})")
    return program


def sanitizing_compiler(folder: Path) -> list[str]:
    """Return the compiler with the flags for AddressSanitizer. Skip the test if it cannot build an empty program."""
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-D_GNU_SOURCE", "-std=gnu11", "-O1"]
    command = [*_compiler(), *checks, f"-I{CSRC}"]
    empty = [*command, "-x", "c", "-", "-o", str(folder / "empty")]
    if not shutil.which(command[0]) or subprocess.run(empty, input=b"int main(void) { return 0; }").returncode != 0:
        pytest.skip(f"there is no C compiler with AddressSanitizer ({command[0]})")
    return command
