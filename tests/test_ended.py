"""A command that is killed: what it used until then, and the kernel's OOM killer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import concmem
from concmem._cgroup.limits import control_groups
from concmem._figures.sentences import headline
from concmem.model import Exit, Figure, Measurement, OutOfMemory

_HOG = "b = bytearray(200 << 20)"
_LIMIT_BYTES = 100 << 20


def ended_by_limit() -> Measurement:
    return concmem.measure([sys.executable, "-c", _HOG + "; import time; time.sleep(30)"], memory_limit_bytes=64 << 20)


def ended_by_timeout() -> Measurement:
    return concmem.measure(["sleep", "30"], timeout_s=0.2)


def ended_by_stop() -> Measurement:
    running = concmem.start(["sleep", "30"])
    running.stop()
    return running.wait()


def ended_by_sigpipe() -> Measurement:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return concmem.measure(["yes"], stdout=writer)
    finally:
        os.close(writer)


def ended_by_itself() -> Measurement:
    return concmem.measure("kill -USR1 $$")


@pytest.mark.parametrize(
    ("run", "by"),
    [
        (ended_by_limit, "by the memory limit"),
        (ended_by_timeout, "by the timeout"),
        (ended_by_stop, "by an interrupt"),
        (ended_by_sigpipe, "by SIGPIPE"),
        (ended_by_itself, "by SIGUSR1"),
    ],
)
def test_a_killed_command_used_at_least(run: Any, by: str) -> None:
    """The headline and the note of the peak say "used until"; the range is that of what was used."""
    m = run()
    assert f" until it was ended {by}." in headline(m)
    assert " needed " not in headline(m)
    assert " used at least " in headline(m) or m.peak.status == "upper_bound"
    assert m.peak.note.startswith(f"what it used until it was ended {by}: it may need more")
    assert m.peak.low_bytes is not None
    assert attrs.evolve(m) == m  # the early headline equals the one built later
    again = Measurement.from_dict(json.loads(json.dumps(m.to_dict())))
    assert headline(again) == headline(m)


def test_a_command_that_exits_needed(measured: Measurement) -> None:
    """Also if it failed: no signal ended it."""
    assert " needed " in headline(measured)
    assert "until" not in measured.peak.note
    assert " needed " in headline(concmem.measure("exit 137"))


def test_an_earlier_schema_says_used_at_least_too(measured: Measurement) -> None:
    """It has no note, but its exit is known."""
    stored = {**attrs.evolve(measured, exit=Exit(None, 9, "timeout")).to_dict(), "schema": 2}
    del stored["oom"]
    assert "used at least" in headline(attrs.evolve(Measurement.from_dict(stored), peak=Figure(4096, "exact", "statm")))


def test_the_headline_names_limit_and_certainty(measured: Measurement) -> None:
    """One sentence for the root, for one process and for several; the limit is named if there is one."""
    with_limit = attrs.evolve(measured.host, memory_limit_bytes=_LIMIT_BYTES)
    without = attrs.evolve(measured.host, memory_limit_bytes=None)
    sure, unsure = (OutOfMemory(2, "memory.events oom_kill", c) for c in (True, False))
    one = attrs.evolve(sure, kills=1)
    killed, exited = Exit(None, 9, "oom"), Exit(0, None, "exited")
    limited = attrs.evolve(sure, limit_bytes=50 << 20)
    for exit, oom, host, words in (
        (Exit(None, 9, "cgroup_limit"), limited, with_limit, "ended by the limit of its control group (50.0 MiB)."),
        (Exit(None, 9, "cgroup_limit"), None, without, "until it was ended by the limit of its control group."),
        (
            exited,
            limited,
            with_limit,
            "until 2 processes of it were ended by the OOM killer (limit of its control group: 50.0 MiB).",
        ),
        (killed, sure, with_limit, "until it was ended by the OOM killer (memory limit: 100 MiB)."),
        (killed, unsure, without, "until it was probably ended by the OOM killer."),
        (exited, one, with_limit, "until a process of it was ended by the OOM killer (memory limit: 100 MiB)."),
        (exited, sure, without, "until 2 processes of it were ended by the OOM killer."),
        (Exit(None, 9, "timeout"), one, without, "until it was ended by the timeout and a process of it was ended by"),
    ):
        assert words in headline(attrs.evolve(measured, exit=exit, oom=oom, host=host))


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """Make a control group with a memory limit of 100 MiB."""
    name = f"concmem-test-{uuid.uuid4().hex[:8]}"
    for parent, version in control_groups("memory"):
        limit = "memory.max" if version == 2 else "memory.limit_in_bytes"
        group = parent / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(_LIMIT_BYTES))
                swap = group / ("memory.swap.max" if version == 2 else "memory.swappiness")
                if swap.exists():
                    swap.write_text("0")
                yield group
                return
        finally:
            group.rmdir()
    pytest.skip("no control group with a memory limit can be made here: needs root and a memory controller")


_MEASURE = """
import json, sys, concmem
try:
    m = concmem.measure(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
    print(json.dumps(m.to_dict()))
except concmem.UnsupportedPlatform as error:
    print(json.dumps(str(error)))
"""


def run_in(group: Path, command: list[str], **options: Any) -> Any:
    """Measure in a group; return the measurement as plain JSON types, or a sentence why it cannot be limited."""
    entered = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    python = [sys.executable, "-c", _MEASURE, json.dumps(command), json.dumps(options)]
    done = subprocess.run(["sh", "-c", entered, "sh", *python], stdout=subprocess.PIPE, text=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def measured_in(group: Path, command: list[str], own_group: str) -> Measurement:
    return Measurement.from_dict(run_in(group, command, cgroup=own_group == "own group"))


@pytest.mark.parametrize("own_group", ["own group", "no group"])
def test_the_oom_killer_ends_the_root(limited_group: Path, own_group: str) -> None:
    """The reason is known from the group's own counter, or is probable from the machine's counter."""
    m = measured_in(limited_group, [sys.executable, "-c", _HOG], own_group)
    assert (m.exit.reason, m.exit.signal, m.exit.status, m.exit.ok) == ("oom", 9, 137, False)
    assert m.oom is not None and m.oom.kills == 1
    assert m.oom.certain == (own_group == "own group" and m.cgroup_peak.bytes is not None)
    assert "ended by the OOM killer (memory limit: 100 MiB)." in headline(m)
    assert ("probably" in headline(m)) != m.oom.certain


@pytest.mark.parametrize("own_group", ["own group", "no group"])
def test_the_oom_killer_ends_a_child(limited_group: Path, own_group: str) -> None:
    """The shell continues and exits with 0; or with 137, which is the only sign of its child's end."""
    last = "true" if own_group == "own group" else "exit $?"
    m = measured_in(limited_group, ["sh", "-c", f"{sys.executable} -c '{_HOG}'; {last}"], own_group)
    assert m.exit.reason == "exited"
    if own_group == "own group" and m.cgroup_peak.bytes is None:
        pytest.skip(f"the command did not get its own control group: {m.cgroup_peak.note}")
    assert m.oom is not None and m.oom.kills == 1
    assert "until a process of it was" in headline(m)
    assert "used at least" in headline(m)
    assert m.peak.note.startswith("what it used until a process of it was ")


def test_a_limit_around_the_own_limit(limited_group: Path) -> None:
    """If the limit around the command's group ends it, that one is named. In version 2 there is no such group."""
    done = run_in(limited_group, [sys.executable, "-c", _HOG], cgroup_limit_bytes=1 << 30)
    if isinstance(done, str):
        assert done.startswith("the command cannot be limited to 1.00 GiB: ")
        assert done.endswith(" limits memory, and a control group outside of it would bypass the limit")
        assert (limited_group / "memory.max").exists()
        return
    m = Measurement.from_dict(done)
    assert (m.exit.reason, m.exit.signal) == ("oom", 9)
    assert m.oom == OutOfMemory(1, "memory.oom_control oom_kill", certain=True)
    assert "ended by the OOM killer (memory limit: 100 MiB)." in headline(m)


def test_other_sigkills(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel has counted no OOM kill, a SIGKILL is a signal like any other."""
    monkeypatch.setattr(
        "concmem.running.launched.oom_kills", lambda: 0
    )  # other processes on this machine may have been killed
    m = concmem.measure("kill -9 $$")
    assert (m.exit.reason, m.oom) == ("signaled", None)


def test_a_printed_measurement_is_a_few_lines() -> None:
    """The headline, the available figures, and how it ended, each on its own line."""
    m = concmem.measure(["sh", "-c", "sleep 0.1; exit 3"])
    first, *figures, last = str(m).splitlines()
    assert first == headline(m)
    assert [line.partition(":")[0] for line in figures] == [n for n, f in m.figures.items() if f.bytes is not None]
    assert last.startswith("exit code 3; ")
    assert len(str(m)) < 1000
