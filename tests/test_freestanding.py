"""What the sampler has of a C library of its own, where it is built without one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from concmem._paths import SAMPLER

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "csrc/nolibc/text.c"


def test_string_functions(tmp_path: Path) -> None:
    """They do what libc's do, for a hundred thousand random texts, within their memory and with defined behaviour."""
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-D_GNU_SOURCE", "-std=gnu11", "-O1"]
    names = re.findall(r"^\w[\w *]*?\b((?:mem|str)\w+)\(", TEXT.read_text(), re.MULTILINE)
    assert len(names) >= 13
    own = [f"-D{name}=own_{name}" for name in names]
    program = tmp_path / "compare_text"
    empty = [*compiler, *checks, "-x", "c", "-", "-o", program]
    if not shutil.which(compiler[0]) or subprocess.run(empty, input=b"int main(void) { return 0; }").returncode != 0:
        pytest.skip(f"there is no C compiler with AddressSanitizer ({compiler[0]})")
    subprocess.run(
        [*compiler, *checks, "-fno-builtin", "-DCM_FREESTANDING", *own, "-c", TEXT, "-o", tmp_path / "own.o"],
        check=True,
    )
    subprocess.run(
        [*compiler, *checks, "-fno-builtin", "-o", program, ROOT / "tests/c/compare_text.c", tmp_path / "own.o"],
        check=True,
    )
    done = subprocess.run([program, "100000", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_the_sampler_that_is_written_comes_from_its_file() -> None:
    """What is static begins as zeros: a page of others would be read and copied before every start."""
    image = SAMPLER.read_bytes()
    if os.environ.get("CONCMEM_SANITIZE") or b"__libc_start" in image or struct.unpack_from("<H", image, 18) != (62,):
        pytest.skip("this sampler is built with a C library")
    first, count = struct.unpack_from("<Q", image, 32)[0], struct.unpack_from("<H", image, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", image, first + 56 * i) for i in range(count)]
    loaded, writable = 1, 2
    sizes = [size for kind, flags, _, _, _, size, _, _ in headers if kind == loaded and flags & writable]
    assert sizes == [0]
