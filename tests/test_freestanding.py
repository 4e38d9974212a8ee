"""The sampler's own C functions, if it is built without a C library."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from c_programs import sanitizing_compiler

from concmem._files.paths import SAMPLER

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "csrc/nolibc/text.c"


def test_string_functions(tmp_path: Path) -> None:
    """They equal those of libc for 100,000 random texts, without memory errors and undefined behaviour."""
    compiler = sanitizing_compiler(tmp_path)
    names = re.findall(r"^\w[\w *]*?\b((?:mem|str)\w+)\(", TEXT.read_text(), re.MULTILINE)
    assert len(names) >= 13
    own = [f"-D{name}=own_{name}" for name in names]
    program = tmp_path / "compare_text"
    subprocess.run(
        [*compiler, "-fno-builtin", "-DCM_FREESTANDING", *own, "-c", TEXT, "-o", tmp_path / "own.o"],
        check=True,
    )
    subprocess.run(
        [*compiler, "-fno-builtin", "-o", program, ROOT / "tests/c/compare_text.c", tmp_path / "own.o"],
        check=True,
    )
    done = subprocess.run([program, "100000", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sampler_has_no_initialised_writable_data() -> None:
    """Static data is zero at the start. Otherwise a page would be read and copied at every launch."""
    image = SAMPLER.read_bytes()
    if os.environ.get("CONCMEM_SANITIZE") or b"__libc_start" in image or struct.unpack_from("<H", image, 18) != (62,):
        pytest.skip("this sampler is built with a C library")
    first, count = struct.unpack_from("<Q", image, 32)[0], struct.unpack_from("<H", image, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", image, first + 56 * i) for i in range(count)]
    loaded, writable = 1, 2
    sizes = [size for kind, flags, _, _, _, size, _, _ in headers if kind == loaded and flags & writable]
    assert sizes == [0]
