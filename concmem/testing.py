"""
Programs of known size: what a measurement can be held against.

Each is one C file in ``programs/known``, whose head comment says what it touches and when. `known` compiles it on first
use and gives the argument vector that runs it:

    m = concmem.measure(known("hold", 100 << 20))
    assert m.root_peak_rss.high_bytes >= 100 << 20

`TRUTHS` says of each kind of memory what is known before a program runs, and `judge` whether a measurement holds:

    m, base = (concmem.measure(known(truth.program, *args)) for args in (truth.args, truth.base))
    assert all(verdict.ok is not False for verdict in judge(truth, m, base))
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import subprocess
from pathlib import Path

from concmem._cache import cache_dir, publish
from concmem._paths import PROGRAMS
from concmem.errors import ConcmemError, InvalidRequest
from concmem.truths import TRUTHS, Truth, Verdict, judge

__all__ = ["TRUTHS", "CompilerError", "Truth", "Verdict", "judge", "known", "known_names"]

_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread")


class CompilerError(ConcmemError, RuntimeError):
    """A program of known size cannot be made: there is no C compiler, or it refuses the program."""


def known_names() -> tuple[str, ...]:
    """The names that `known` takes, in alphabetical order."""
    return tuple(sorted(path.stem for path in (PROGRAMS / "known").glob("*.c")))


def known(name: str, *args: object) -> list[str]:
    """
    The argument vector of a program of known size, compiled if it is not in the cache yet.

    The compiler is ``$CC``, else ``cc``; the cache is keyed by a hash of the sources and of the compiler's name. Any
    number of threads and processes may ask at once: each that finds nothing compiles for itself, the first to end wins.

    Args:
        name: One of `known_names`.
        args: Its arguments, each turned into text.

    Raises:
        InvalidRequest: There is no such program.
        CompilerError: It cannot be compiled.
        CacheError: The cache directory cannot be made.
    """
    if name not in known_names():
        raise InvalidRequest(f"there is no program of known size named {name!r}; there are {', '.join(known_names())}")
    return [str(_compiled(name)), *(str(arg) for arg in args)]


def _compiled(name: str) -> Path:
    source = PROGRAMS / "known" / f"{name}.c"
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    key = hashlib.sha256(shlex.join([platform.machine(), *compiler, *_FLAGS]).encode())
    for path in (*sorted(source.parent.glob("*.h")), source):
        key.update(path.read_bytes())
    # The folder carries the hash, so that the file can carry the plain name: it is what the kernel shows as comm.
    folder = cache_dir() / "known" / key.hexdigest()[:16]
    return publish(folder, functools.partial(_compile, compiler, source)) / name


def _compile(compiler: list[str], source: Path, folder: Path) -> None:
    try:
        done = subprocess.run(
            [*compiler, *_FLAGS, "-o", folder / source.stem, source],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
    except OSError as error:
        raise CompilerError(
            f"cannot compile {source}: no C compiler ({compiler[0]}: {error.strerror}); install one or set CC"
        ) from error
    if done.returncode != 0 or not (folder / source.stem).exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CompilerError(f"cannot compile {source} with {shlex.join(compiler)}: {lines[0]}")
