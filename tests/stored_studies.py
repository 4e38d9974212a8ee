"""Store a made-up study, as `concmem bench` stores a measured one."""

from __future__ import annotations

from concmem.study import Study
from concmem.study.store.directory import Store

__all__ = ["store_study"]


def store_study(study: Study) -> Study:
    """Write the files of a study and its runs into its folder, and return the study."""
    store = Store(study.path)
    store.path.mkdir(parents=True, exist_ok=True)
    store.write(study)
    for run in study.runs:
        store.add(run)
    return study
