"""Two trees of processes that the benchmarks measure: workers with spikes, and a parallel compile."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import concmem

SEED = 1
WORKERS = ("workers", 8, 100 << 20, 50 << 20, 60, 10, SEED, 30)
"""A program of known size: 8 workers share 100 MiB, and each has 60 spikes of 50 MiB at random times."""
PROJECT = "brotli==1.1.0"
MAKE = ("make", "-B", "-j4", "-C")
_MAKEFILE = """\
objects := $(patsubst %.c,%.o,$(wildcard c/common/*.c c/dec/*.c c/enc/*.c c/tools/*.c))
all: $(objects)
%.o: %.c
	@$(CC) -O2 -Ic/include -c -o $@ $<
"""


def download_project(folder: Path) -> Path:
    """Download the project's source and add a Makefile for its C files. pip reads its metadata, but builds nothing."""
    pip = [sys.executable, "-m", "pip", "download", "--no-binary", ":all:", "--no-deps"]
    done = subprocess.run([*pip, "--dest", folder, PROJECT], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"pip cannot download {PROJECT}: {(done.stderr.strip().splitlines() or ['no error message'])[-1]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder)
    source = next(path for path in folder.iterdir() if path.is_dir())
    (source / "Makefile").write_text(_MAKEFILE)
    return source


def printed_truth(m: concmem.Measurement) -> tuple[int, ...]:
    """Return the smallest and the largest possible need of the tree, if the program prints it."""
    words = (m.stdout or b"").split()
    return tuple(map(int, words[1:])) if words[:1] == [b"peak"] else ()
