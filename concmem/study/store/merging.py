"""Merge several studies into one: of other programs, with further runs, or of other machines of the same kind."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from concmem.study.cluster.machines import kind_difference
from concmem.study.plan import WHICH_RUNS, Plan, StudyError, differences
from concmem.study.store.directory import Store, StudyNotStored, load_study
from concmem.study.store.records import Entry, Run, Study
from concmem.study.store.schema import run_content

__all__ = ["merge"]


def merge(directories: Iterable[str | Path], out: str | Path) -> Study:
    """
    Merge studies that measured alike: take all their runs, and number them anew within each cell.

    A run that several studies hold (a copy, or an earlier merge) counts once; its content identifies it. If a cell was
    skipped in one study and run in another, the skipped runs are left out. Seed and order are those of the first study.

    Args:
        directories: The directories of the studies, finished or not. They are not changed.
        out: The directory of the new study, which must be empty or missing. It appears whole or not at all.

    Raises:
        StudyError: A directory has no study; two studies differ in the workload or the times of their plan, the kind of
            machine or a program's toolchain, on which figures depend; `out` is not empty.
        StudyNotStored: A file could not be written, for example because the disk is full.
        RecordingError: A file cannot be read.
    """
    studies = [load_study(directory) for directory in directories]
    if not studies:
        raise StudyError("a merge needs at least one study")
    out = Path(out)
    Store(out).check_empty()
    for study in studies[1:]:
        _check(studies[0], study)
    entries = _entries(studies)
    runs = _runs(studies)
    joined = attrs.evolve(
        studies[0],
        plan=_plan([study.plan for study in studies], [run for run, _ in runs]),
        hosts={name: host for study in reversed(studies) for name, host in study.hosts.items()},
        programs=tuple(entries.values()),
        started_at=min((study.started_at for study in studies), key=datetime.datetime.fromisoformat),
        version=" / ".join(dict.fromkeys(study.version for study in studies)),
    )
    unfinished = Store(out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}"))
    try:
        unfinished.path.mkdir(parents=True)
        unfinished.write(joined)
        for run, timeline in runs:
            unfinished.copy(run, timeline)
        os.rename(unfinished.path, out)
    except OSError as error:
        raise StudyNotStored(error.errno, error.strerror, str(out)) from error
    finally:
        shutil.rmtree(unfinished.path, ignore_errors=True)
    return load_study(out)


def _check(first: Study, other: Study) -> None:
    values = {name: pair for name, pair in differences(first.plan, other.plan).items() if name not in WHICH_RUNS}
    places = (f"in {first.path}", f"in {other.path}")
    differs = next((f"{name} is {a} {places[0]} and {b} {places[1]}" for name, (a, b) in values.items()), "")
    if differs := differs or kind_difference(first.host, other.host, places):
        raise StudyError(f"{other.path} cannot be merged with {first.path}: {differs}")


def _entries(studies: Sequence[Study]) -> dict[str, Entry]:
    """Return the entry of each program, from a study that ran it if there is one."""
    kept: dict[str, tuple[Entry, Study, bool]] = {}
    for study in studies:
        programs_run = {run.program for run in study.runs if run.status != "skipped"}
        for entry in study.programs:
            ran = entry.name in programs_run
            earlier_entry, earlier_study, ran_earlier = kept.setdefault(entry.name, (entry, study, ran))
            if ran and ran_earlier:
                _check_entry(earlier_study, earlier_entry, study, entry)
            elif ran:
                kept[entry.name] = entry, study, ran
    return {name: entry for name, (entry, _, _) in kept.items()}


def _check_entry(earlier_study: Study, earlier_entry: Entry, study: Study, entry: Entry) -> None:
    for name in ("language", "kind", "variant", "begins_together", "toolchain"):
        if (a := getattr(earlier_entry, name)) != (b := getattr(entry, name)):
            raise StudyError(
                f"{study.path} cannot be merged with {earlier_study.path}: "
                f"{name} of {entry.name} is {a} in {earlier_study.path} and {b} in {study.path}"
            )


def _runs(studies: Sequence[Study]) -> list[tuple[Run, Path]]:
    """Return all runs with their new indexes, each with the path of its timeline."""
    distinct: dict[tuple[str, int], tuple[Run, Path]] = {}
    for study in studies:
        # Runs of one study without a measurement can have the same content; they are different runs all the same.
        occurrences: Counter[str] = Counter()
        for run in study.runs:
            content = json.dumps(run_content(attrs.evolve(run, index=0)), sort_keys=True)
            timeline = study.timeline_path(run)
            kept = distinct.setdefault((content, occurrences[content]), (run, timeline))
            if not kept[1].exists():
                distinct[content, occurrences[content]] = run, timeline
            occurrences[content] += 1
    cells: dict[tuple[str, int], list[tuple[Run, Path]]] = {}
    for run, timeline in distinct.values():
        cells.setdefault((run.program, run.tasks), []).append((run, timeline))
    numbered = []
    for pairs in cells.values():
        not_skipped = [(run, timeline) for run, timeline in pairs if run.status != "skipped"]
        numbered += [(attrs.evolve(run, index=i), timeline) for i, (run, timeline) in enumerate(not_skipped or pairs)]
    return numbered


def _plan(plans: Sequence[Plan], runs: Sequence[Run]) -> Plan:
    """Return the first plan with the programs and sizes of all; runs of a size: the most that a program has of it."""
    runs_of_size: Counter[int] = Counter()
    for plan in plans:
        runs_of_size |= Counter({tasks: plan.runs_of(tasks) for tasks in plan.tasks})
    for (_, tasks), count in Counter((run.program, run.tasks) for run in runs).items():
        if tasks in runs_of_size:
            runs_of_size |= Counter({tasks: count})
    usual = runs_of_size[min(runs_of_size)]
    return attrs.evolve(
        plans[0],
        variants=itertools.chain(*(plan.variants for plan in plans)),
        programs=itertools.chain(*(plan.programs for plan in plans)),
        tasks=runs_of_size,
        runs=usual,
        runs_at=((tasks, count) for tasks, count in runs_of_size.items() if count != usual),
        programs_dirs=itertools.chain(*(plan.programs_dirs for plan in plans)),
    )
