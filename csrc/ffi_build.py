"""
The build of the extension with cffi. The cdef is ``csrc/concmem.h`` without the lines of the preprocessor.

This file also lists the C files of the extension and of the sampler. setup.py and cffi both execute it in the root
folder of the project, so paths are relative to that folder.
"""

from __future__ import annotations

import glob
import os
import re

from cffi import FFI

SHARED = ["csrc/shared", "csrc/sources"]
"""Folders with files for both the extension and the sampler."""


def in_folders(*folders: str) -> list[str]:
    """Return the C files of these folders, in alphabetical order."""
    return sorted(path for folder in folders for path in glob.glob(f"{folder}/*.c"))


NATIVE_SOURCES = in_folders(*SHARED, "csrc/extension")
SAMPLER_SOURCES = in_folders(*SHARED, "csrc/sampler", "csrc/nolibc")
HEADERS = sorted(glob.glob("csrc/**/*.h", recursive=True))

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
if os.environ.get("CONCMEM_WERROR") == "1":
    # Not by default: a new warning of a new compiler must not stop an installation from source.
    FLAGS.append("-Werror")


def cdef(header: str) -> str:
    """Return the declarations of a C header for cffi. Of the preprocessor's lines keep integer ``CM_`` constants."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header, flags=re.S).replace("\\\n", " ")
    text = re.sub(r"^\s*#\s*ifdef\s+__cplusplus.*?^\s*#\s*endif[^\n]*", "", text, flags=re.S | re.M)
    lines = []
    for line in text.splitlines():
        constant = re.match(r"\s*#\s*define\s+(CM_\w+)\s+([^\"\s].*?)\s*$", line)
        if constant:
            plain = re.fullmatch(r"-?(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*", constant[2])
            # The compiler fills in the value of anything but a plain number.
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
