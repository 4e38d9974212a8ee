"""
The cffi side of the build: ``csrc/concmem.h`` is the C interface and, less the preprocessor's lines, the cdef.

Also the one place that says which C files are in what. setup.py and cffi both execute this file, from the
project's root, so the paths are relative to it.
"""

from __future__ import annotations

import glob
import os
import re

from cffi import FFI

SHARED = ["csrc/shared", "csrc/sources"]
"""Folders whose files both binaries have."""


def in_folders(*folders: str) -> list[str]:
    """The C files of these folders, in alphabetical order."""
    return sorted(path for folder in folders for path in glob.glob(f"{folder}/*.c"))


NATIVE_SOURCES = in_folders(*SHARED, "csrc/extension")
SAMPLER_SOURCES = in_folders(*SHARED, "csrc/sampler", "csrc/nolibc")
HEADERS = sorted(glob.glob("csrc/**/*.h", recursive=True))

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
if os.environ.get("CONCMEM_WERROR") == "1":
    # Not for those who install from source: a new compiler's new warning must not stop them.
    FLAGS.append("-Werror")


def cdef(header: str) -> str:
    """The declarations of a C header as cffi reads them: of the preprocessor's lines only integer ``CM_`` constants."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header, flags=re.S).replace("\\\n", " ")
    text = re.sub(r"^\s*#\s*ifdef\s+__cplusplus.*?^\s*#\s*endif[^\n]*", "", text, flags=re.S | re.M)
    lines = []
    for line in text.splitlines():
        constant = re.match(r"\s*#\s*define\s+(CM_\w+)\s+([^\"\s].*?)\s*$", line)
        if constant:
            plain = re.fullmatch(r"-?(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*", constant[2])
            # Anything but a plain number is left for the compiler to fill in.
            lines.append(f"#define {constant[1]} {constant[2] if plain else '...'}")
        elif not re.match(r"\s*(#|_Static_assert\b)", line):
            lines.append(re.sub(r"\bpid_t\b", "int", re.sub(r"\bextern\b", "", line)))
    return "\n".join(lines)


ffi = FFI()
with open("csrc/concmem.h", encoding="utf-8") as _header:
    ffi.cdef(cdef(_header.read()))
ffi.set_source(
    "concmem._native._core",
    '#include "concmem.h"',
    sources=NATIVE_SOURCES,
    depends=HEADERS,
    include_dirs=["csrc"],
    extra_compile_args=FLAGS,
)
