"""
Build the native parts, all inside the package: ``concmem._native._core`` (with cffi), ``concmem-sampler`` and the
programs of known size.
"""

from __future__ import annotations

import glob
import os
import platform
import runpy
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

sanitize = os.environ.get("CONCMEM_SANITIZE", "")
NO_PIE = "-no-pie"  # without relocations before main, fewer pages are touched
Way = tuple[str, list[str], list[str]]
"""Name, compiler flags, linker flags."""

# The ways to build the sampler. The first one that links is used.
WAYS = [
    ("static", ["-fno-pie"], ["-static", NO_PIE]),
    ("dynamic", ["-fno-pie"], [NO_PIE]),
]
if platform.machine() == "x86_64":
    own = ["-DCM_FREESTANDING", "-fno-pie", "-fno-stack-protector", "-fcf-protection=none"]
    few_pages = "-Wl,-z,noseparate-code"  # code and constants share a mapping: fewer mappings and page faults
    WAYS.insert(0, ("freestanding", own, ["-nostdlib", "-static", NO_PIE, few_pages]))
if sanitize:
    checks = [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g"]
    WAYS = [(f"sanitized-{sanitize}", checks, checks)]

KNOWN_WAYS = [("plain", ["-pthread"], ["-pthread"])]
KNOWN_HEADER = "programs/known/known.h"


class Executable(Extension):
    """A C program inside the package, built in the first of its ways that links."""

    def __init__(
        self, name: str, sources: list[str], *, depends: list[str], include_dirs: list[str], ways: list[Way]
    ) -> None:
        """Take headers from `include_dirs`, and build again when a file of `depends` changes."""
        super().__init__(name, sources, depends=depends, include_dirs=include_dirs, extra_compile_args=csrc["FLAGS"])
        self.ways = ways


class BuildNative(build_ext):
    """A `build_ext` that also builds programs, for wheels, editable installs and in-place builds alike."""

    def get_ext_filename(self, fullname: str) -> str:
        if isinstance(self.ext_map.get(fullname), Executable):
            return fullname.replace(".", "/")
        return super().get_ext_filename(fullname)

    def run(self) -> None:
        # The build backend has checked this already, unless setup.py is called directly or without build isolation.
        runpy.run_path("scripts/compiler_check.py")["check"]()
        super().run()

    def copy_extensions_to_source(self) -> None:
        os.makedirs("concmem/known", exist_ok=True)
        super().copy_extensions_to_source()

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, Executable):
            super().build_extension(ext)
            return
        target = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for name, compile_flags, link_flags in ext.ways:
            try:
                # A folder for each way: objects with different flags must not be linked together.
                objects = self.compiler.compile(
                    ext.sources, output_dir=os.path.join(self.build_temp, ext.name, name), depends=ext.depends,
                    include_dirs=ext.include_dirs, extra_postargs=[*ext.extra_compile_args, *compile_flags],
                )  # fmt: skip
                self.compiler.link_executable(objects, target, extra_postargs=link_flags)
                return
            except (CompileError, LinkError):
                # A user's compiler may not link without libc. Where warnings are errors, this is one, too.
                if name == ext.ways[-1][0] or os.environ.get("CONCMEM_WERROR") == "1":
                    raise


if not sys.platform.startswith("linux"):
    sys.exit("concmem can only be built on Linux: it reads Linux's /proc")

csrc = runpy.run_path("csrc/ffi_build.py")
setup(
    packages=[*find_packages(include=["concmem", "concmem.*"]), "concmem.programs"],
    package_dir={"concmem.programs": "programs"},
    cffi_modules=["csrc/ffi_build.py:ffi"],
    ext_modules=[
        Executable(
            "concmem.concmem-sampler",
            csrc["SAMPLER_SOURCES"],
            depends=csrc["HEADERS"],
            include_dirs=["csrc"],
            ways=WAYS,
        ),
        *(
            Executable(
                f"concmem.known.{Path(source).stem}",
                [source],
                depends=[KNOWN_HEADER],
                include_dirs=["programs/known"],
                ways=KNOWN_WAYS,
            )
            for source in sorted(glob.glob("programs/known/*.c"))
        ),
    ],
    cmdclass={"build_ext": BuildNative},
    options={} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp310"}},
)
