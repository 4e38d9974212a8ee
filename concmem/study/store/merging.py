"""One study out of several that were made apart: other programs, further runs, another machine of the same kind."""

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
    Join studies that measured alike: every run of all of them, counted anew within its cell.

    A run that several of them hold (a copy, an earlier merging) counts once, by its content. Of a cell that was
    skipped in one and run in another, what was skipped is left out. Seed and order are the first one's.

    Args:
        directories: Of the studies, finished or not. They stay as they are.
        out: The directory of the new one, which must be empty or missing. It appears whole or not at all.

    Raises:
        StudyError: There is no study in one of the directories; two differ in what figures depend on: the plan's
            workload and times, the kind of machine, a program's toolchain; `out` is not empty.
        StudyNotStored: The disk is full, say.
        RecordingError: A file cannot be read.
    """
    studies = [load_study(directory) for directory in directories]
    if not studies:
        raise StudyError("there is no study to merge")
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
    made = Store(out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}"))
    try:
        made.path.mkdir(parents=True)
        made.write(joined)
        for run, timeline in runs:
            made.copy(run, timeline)
        os.rename(made.path, out)
    except OSError as error:
        raise StudyNotStored(error.errno, error.strerror, str(out)) from error
    finally:
        shutil.rmtree(made.path, ignore_errors=True)
    return load_study(out)


def _check(first: Study, other: Study) -> None:
    fatal = {name: both for name, both in differences(first.plan, other.plan).items() if name not in WHICH_RUNS}
    differs = next((f"{name} is {there} there and {here} here" for name, (there, here) in fatal.items()), "")
    if differs := differs or kind_difference(first.host, other.host):
        raise StudyError(f"{other.path} cannot be merged with {first.path}: {differs}")


def _entries(studies: Sequence[Study]) -> dict[str, Entry]:
    """Each program as it was found where it ran."""
    kept: dict[str, tuple[Entry, Study, bool]] = {}
    for study in studies:
        tried = {run.program for run in study.runs if run.status != "skipped"}
        for entry in study.programs:
            ran = entry.name in tried
            before, where, ran_before = kept.setdefault(entry.name, (entry, study, ran))
            if ran and ran_before:
                _check_entry(where, before, study, entry)
            elif ran:
                kept[entry.name] = entry, study, ran
    return {name: entry for name, (entry, _, _) in kept.items()}


def _check_entry(where: Study, before: Entry, study: Study, entry: Entry) -> None:
    for name in ("language", "kind", "variant", "begins_together", "toolchain"):
        if (there := getattr(before, name)) != (here := getattr(entry, name)):
            raise StudyError(
                f"{study.path} cannot be merged with {where.path}: "
                f"{entry.name} has {name} {there} there and {here} here"
            )


def _runs(studies: Sequence[Study]) -> list[tuple[Run, Path]]:
    """All runs with their new indexes, each with the place of its timeline."""
    found: dict[tuple[str, int], tuple[Run, Path]] = {}
    for study in studies:
        # What was never measured can be alike in several runs of one study, which are several all the same.
        seen: Counter[str] = Counter()
        for run in study.runs:
            content = json.dumps(run_content(attrs.evolve(run, index=0)), sort_keys=True)
            timeline = study.timeline_path(run)
            kept = found.setdefault((content, seen[content]), (run, timeline))
            if not kept[1].exists():
                found[content, seen[content]] = run, timeline
            seen[content] += 1
    grouped: dict[tuple[str, int], list[tuple[Run, Path]]] = {}
    for run, timeline in found.values():
        grouped.setdefault((run.program, run.tasks), []).append((run, timeline))
    counted = []
    for of_cell in grouped.values():
        tried = [each for each in of_cell if each[0].status != "skipped"]
        counted += [(attrs.evolve(run, index=i), timeline) for i, (run, timeline) in enumerate(tried or of_cell)]
    return counted


def _plan(plans: Sequence[Plan], runs: Sequence[Run]) -> Plan:
    """The first one's, with all that they have together; of each size as many runs as one of its programs has."""
    wanted: Counter[int] = Counter()
    for plan in plans:
        wanted |= Counter({tasks: plan.runs_of(tasks) for tasks in plan.tasks})
    for (_, tasks), count in Counter((run.program, run.tasks) for run in runs).items():
        if tasks in wanted:
            wanted |= Counter({tasks: count})
    usual = wanted[min(wanted)]
    return attrs.evolve(
        plans[0],
        variants=itertools.chain(*(plan.variants for plan in plans)),
        programs=itertools.chain(*(plan.programs for plan in plans)),
        tasks=wanted,
        runs=usual,
        runs_at=((tasks, count) for tasks, count in wanted.items() if count != usual),
        programs_dirs=itertools.chain(*(plan.programs_dirs for plan in plans)),
    )
