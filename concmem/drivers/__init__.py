"""Programs in many languages: find and install their toolchains, build the programs."""

from concmem.drivers.programs import (
    BuildError,
    Kind,
    ManifestError,
    Missing,
    Prepared,
    Program,
    Toolchain,
    choose,
    detect,
    forget,
    is_built,
    load_programs,
    needs_build,
    prepare,
)

__all__ = [
    "BuildError",
    "Kind",
    "ManifestError",
    "Missing",
    "Prepared",
    "Program",
    "Toolchain",
    "choose",
    "detect",
    "forget",
    "is_built",
    "load_programs",
    "needs_build",
    "prepare",
]
