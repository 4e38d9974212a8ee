"""
Check before a build for what concmem needs to be compiled: a C compiler, the C library's headers and Python.h.

``build_backend.py``, ``setup.py`` and ``make_venv.py`` call it, so it uses only the standard library.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping

COMPILER, LIBC, PYTHON_H = "a C compiler", "the C library's headers", "Python.h"
FEDORA = {COMPILER: "gcc", LIBC: "glibc-devel", PYTHON_H: "python3-devel"}


def missing(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return which of COMPILER, LIBC and PYTHON_H are missing for a build with these environment variables."""
    folders = dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude"))
    compiler = shlex.split(environment.get("CC") or "cc") or ["cc"]
    if not shutil.which(compiler[0], path=environment.get("PATH", os.defpath)):
        # Without a compiler nothing can be tried. The headers are searched for in the usual places.
        paths = (LIBC, ["/usr/include"], "stdlib.h"), (PYTHON_H, folders, "Python.h")
        absent = (what for what, tops, name in paths if not any(os.path.exists(f"{top}/{name}") for top in tops))
        return (COMPILER, *absent)
    options = [f"-I{folder}" for folder in folders]

    def compiles(header: str) -> bool:
        return not subprocess.run(
            [*compiler, *options, "-x", "c", "-fsyntax-only", "-"],
            input=f"#include <{header}>\n",
            text=True,
            capture_output=True,
            env=dict(environment),
            check=False,
        ).returncode

    if compiles("Python.h"):
        return ()
    if compiles("stdlib.h"):
        return (PYTHON_H,)
    # Python.h includes the C library's headers, so it cannot be tried without them.
    places = [*folders, *filter(None, environment.get("C_INCLUDE_PATH", "").split(":"))]
    return (LIBC,) if any(os.path.exists(f"{place}/Python.h") for place in places) else (LIBC, PYTHON_H)


def debian_package(what: str) -> str:
    """Return the Debian package that contains it. Each version of Python has its own package with Python.h."""
    if what != PYTHON_H:
        return {COMPILER: "gcc", LIBC: "libc6-dev"}[what]
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    default = os.path.basename(os.path.realpath("/usr/bin/python3"))
    return "python3-dev" if default in (f"python{version}", "python3") else f"python{version}-dev"


def sentence(absent: tuple[str, ...]) -> str:
    """Return a sentence that names what is missing and the packages to install."""
    of_python = f"{PYTHON_H} of Python {sys.version_info[0]}.{sys.version_info[1]}"
    what = ", ".join(of_python if name == PYTHON_H else name for name in absent)
    # With --no-install-recommends, gcc is installed without libc6-dev.
    missing_parts = dict.fromkeys((*absent, LIBC) if COMPILER in absent else absent)
    debian = " ".join(map(debian_package, missing_parts))
    fedora = " ".join(FEDORA[name] for name in missing_parts)
    return (
        f"concmem cannot be compiled: {what} {'is' if len(absent) == 1 and absent[0] != LIBC else 'are'} missing; "
        f"as root, run: apt-get install {debian} (Fedora: dnf install {fedora}), then try again"
    )


def check() -> None:
    """Exit with one sentence if something is missing."""
    if absent := missing():
        sys.exit(f"error: {sentence(absent)}")
