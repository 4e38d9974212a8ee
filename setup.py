"""The two native parts: ``concmem._native`` (by cffi) and, beside it in the package, ``concmem-sampler``."""

from __future__ import annotations

import os
import runpy
import sys
import sysconfig

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import LinkError

sanitize = os.environ.get("CONCMEM_SANITIZE", "")
SANITIZE = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g"] if sanitize else []
# Without position independence there is nothing to relocate before main, and fewer pages are touched.
LINK = [["-static", "-no-pie"], ["-no-pie"]] if not SANITIZE else [SANITIZE]


class Executable(Extension):
    """A C program that lands in the package, beside the extension."""


class BuildNative(build_ext):
    """`build_ext` that also makes programs, so that wheels, editable installs and in-place builds all have them."""

    def get_ext_filename(self, fullname: str) -> str:
        if isinstance(self.ext_map.get(fullname), Executable):
            return fullname.replace(".", "/")
        return super().get_ext_filename(fullname)

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, Executable):
            super().build_extension(ext)
            return
        target = self.get_ext_fullpath(ext.name)
        # A target of its own per kind of build: objects made with a sanitizer must not be linked without it.
        folder = os.path.join(self.build_temp, ext.name + (f"-{sanitize}" if sanitize else ""))
        objects = self.compiler.compile(
            ext.sources, output_dir=folder, include_dirs=ext.include_dirs,
            extra_postargs=[*ext.extra_compile_args, *(SANITIZE or ["-fno-pie"])], depends=ext.depends,
        )  # fmt: skip
        for last, flags in enumerate(LINK, start=1):
            try:
                self.compiler.link_executable(objects, target, extra_postargs=flags)
                return
            except LinkError:
                # No libc.a here: a dynamic sampler measures the same, starts a little later and is larger.
                if last == len(LINK):
                    raise


if not sys.platform.startswith("linux"):
    sys.exit("concmem reads Linux's /proc: it can be built on Linux only")

csrc = runpy.run_path("csrc/ffi_build.py")
setup(
    packages=[*find_packages(include=["concmem", "concmem.*"]), "concmem.programs"],
    package_dir={"concmem.programs": "programs"},
    cffi_modules=["csrc/ffi_build.py:ffi"],
    ext_modules=[
        Executable(
            "concmem.concmem-sampler",
            sources=csrc["SAMPLER_SOURCES"],
            depends=csrc["HEADERS"],
            include_dirs=["csrc"],
            extra_compile_args=csrc["FLAGS"],
        )
    ],
    cmdclass={"build_ext": BuildNative},
    options={} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp310"}},
)
