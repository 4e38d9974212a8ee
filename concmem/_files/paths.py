"""The paths of the package's own files, in an installed wheel and in a checkout."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HERE", "KNOWN", "PROGRAMS", "SAMPLER"]

HERE = Path(__file__).resolve().parents[1]
SAMPLER = HERE / "concmem-sampler"
KNOWN = HERE / "known"
PROGRAMS = next(p for p in (HERE / "programs", HERE.parent / "programs") if p.is_dir())
