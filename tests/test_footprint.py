"""What a footprint consists of, and the memory limit that judges it, on programs that hold a known number of bytes."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.model import Composition, Measurement
from concmem.testing import TRUTHS, judge, known

MIB = 1 << 20
START_UP_BYTES = 2 * MIB
"""More than the start-up size of any process here (0.2 to 1.9 MiB: pages of libc, the loader and stacks)."""

HOLD_S = 0.3

pytestmark = pytest.mark.usefixtures("no_child_left")


def run(program: str, *args: object, **options: Any) -> Measurement:
    return concmem.measure(
        known(program, *args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **{"leftover": "wait", **options}
    )


def read(program: str, *args: object) -> tuple[Measurement, Composition]:
    m = run(program, *args)
    if m.exit.code == 1:
        pytest.skip(f"the system refuses what {program} needs")
    assert m.exit.ok and m.composition is not None, m.exit
    return m, m.composition


def between(truth_bytes: int, size: int, processes: int = 1) -> bool:
    """Whether a size is the truth, and at most the start-up size of these processes more."""
    return truth_bytes <= size <= truth_bytes + processes * START_UP_BYTES


# --- m.composition, and the columns that it comes from


@pytest.mark.parametrize(
    ("program", "args", "anonymous_mib", "file_mib", "shared_mib"),
    [
        ("hold", (32 * MIB, 1, HOLD_S), 32, 0, 0),
        ("hold", (32 * MIB, 8, HOLD_S), 32, 0, 0),
        ("huge", (32 * MIB, HOLD_S), 32, 0, 0),
        ("mapped-file", (32 * MIB, HOLD_S), 0, 32, 0),
        ("memfd", (32 * MIB, 1, HOLD_S), 0, 0, 32),
        # Twice mapped is twice in RSS.
        ("memfd", (16 * MIB, 2, HOLD_S), 0, 0, 32),
        # Not mapped: in no RSS.
        ("memfd", (32 * MIB, 0, HOLD_S), 0, 0, 0),
    ],
)
def test_the_composition_of_one_process(
    program: str, args: tuple[object, ...], anonymous_mib: int, file_mib: int, shared_mib: int
) -> None:
    """The bytes are of the kind that the program says, and no other kind has more than the start-up size."""
    kinds = "anonymous", "file", "shared memory"
    truths = dict(zip(kinds, (anonymous_mib * MIB, file_mib * MIB, shared_mib * MIB), strict=True))
    for factor in (1, 4, 16):  # how much of RSS is shared memory is read a little later
        longer = [arg * factor if isinstance(arg, float) else arg for arg in args]
        m, found = read(program, *longer)
        sizes = dict(zip(kinds, (found.anonymous_bytes, found.file_bytes, found.shared_memory_bytes), strict=True))
        if all(between(truths[kind], size) for kind, size in sizes.items()):
            break
    assert {kind: size for kind, size in sizes.items() if not between(truths[kind], size)} == {}
    assert (found.huge_pages_bytes, found.swapped_bytes) == (0, 0) or m.host.swap_bytes > 0
    assert between(truths["file"] + truths["shared memory"], m.maxima["statm.shared"])
    assert found.file_bytes + found.shared_memory_bytes <= m.maxima["statm.shared"]
    assert between(truths["shared memory"], m.maxima["status.shmem"])
    assert m.maxima["status.pinned"] == m.maxima["status.hugetlb"] == 0


@pytest.mark.parametrize("place", ["anonymous", "memfd", "file"])
def test_the_composition_of_several_processes(place: str) -> None:
    """A page that four processes share counts four times, as in the sum of RSS."""
    m, found = read("shared", 16 * MIB, 3, HOLD_S, "all", place)
    shared_bytes = 0 if place == "file" else 64 * MIB
    assert between(64 * MIB, found.file_bytes + found.shared_memory_bytes, 4)
    assert found.shared_memory_bytes <= shared_bytes + 4 * START_UP_BYTES
    assert between(0, found.anonymous_bytes, 4)
    assert between(64 * MIB, m.maxima["statm.shared"], 4)
    assert between(shared_bytes, m.maxima["status.shmem"], 4)


def test_one_address_space_of_several_processes() -> None:
    """Processes that share their memory (CLONE_VM) have it once, in the composition and in the range of `peak`."""
    m, found = read("clonevm", 32 * MIB, 5, HOLD_S)
    assert between(32 * MIB, found.anonymous_bytes)
    assert m.peak.low_bytes is not None and m.peak.high_bytes is not None
    assert m.peak.low_bytes <= 32 * MIB + START_UP_BYTES and m.peak.high_bytes >= 32 * MIB
    assert len(m.processes) == 5


@pytest.mark.parametrize("how", ["unmap", "fork"])
def test_pinned_pages_are_counted(how: str) -> None:
    """`status.pinned` is what a ring has pinned, mapped or not. A fork does not pin its copies."""
    m, found = read("pinned", 4 * MIB, HOLD_S, how)
    assert m.maxima["status.pinned"] == 4 * MIB
    assert between(4 * MIB if how == "unmap" else 8 * MIB, found.anonymous_bytes, 2)
    assert m.peak.high_bytes is None or m.peak.high_bytes >= 8 * MIB


def test_a_command_that_was_never_read_has_no_composition() -> None:
    """It comes from readings. Without one it is None, not zeros."""
    for _ in range(20):
        m = concmem.measure(["/bin/true"], interval_s=1)
        if m.maxima.get("statm.rss", 0) == 0:
            assert m.composition is None
            return
        assert m.composition is not None and m.composition.file_bytes > 0


# --- huge pages of hugetlbfs

HUGE_KIB = 2048
OVERCOMMIT = Path(f"/sys/kernel/mm/hugepages/hugepages-{HUGE_KIB}kB/nr_overcommit_hugepages")


@pytest.fixture
def huge_pages() -> Iterator[int]:
    """Let the machine make 16 huge pages on demand. Return how many bytes it then allows."""
    if os.geteuid() != 0 or not OVERCOMMIT.exists():
        pytest.skip("needs root, and huge pages of 2 MiB: the setting is of the whole machine")
    before = int(OVERCOMMIT.read_text())
    try:
        OVERCOMMIT.write_text(f"{max(before, 16)}\n")
        yield 16 * HUGE_KIB << 10
    finally:
        OVERCOMMIT.write_text(f"{before}\n")


@pytest.mark.alone
@pytest.mark.parametrize("options", [{}, {"cgroup": True}], ids=["plain", "cgroup"])
def test_huge_pages_are_in_the_footprint(huge_pages: int, options: dict[str, Any]) -> None:
    """32 MiB that two processes have are in no RSS and no PSS, and within the range of `peak`."""
    truth = next(truth for truth in TRUTHS if truth.name == "hugetlb")
    assert truth.footprint_bytes == huge_pages
    m, base = run("hugetlb", *truth.args, **options), run("hugetlb", *truth.base, **options)
    if m.exit.code == 1:
        pytest.skip("the kernel has no memory for 16 huge pages, or allows none (vm.nr_overcommit_hugepages)")
    assert m.exit.ok and base.exit.ok
    verdicts = judge(truth, m, base)
    assert {verdict.figure: verdict.reason for verdict in verdicts if verdict.ok is False} == {}
    assert m.peak.status == "bounded"
    assert m.peak.low_bytes is not None and m.peak.low_bytes >= huge_pages
    assert m.composition is not None
    # The child has the private ones of its parent as well.
    assert m.composition.huge_pages_bytes == m.maxima["status.hugetlb"] == 2 * huge_pages
    assert m.composition.anonymous_bytes + m.composition.file_bytes <= 2 * START_UP_BYTES
    assert base.composition is not None and base.composition.huge_pages_bytes == 0


# --- the memory limit judges the footprint

LIMIT_BYTES = 32 * MIB

GROUPS = [pytest.param({}, id="plain"), pytest.param({"cgroup": True}, id="cgroup")]


@pytest.mark.parametrize("options", GROUPS)
@pytest.mark.parametrize(
    ("program", "args"),
    [
        ("shared", (16 * MIB, 3, HOLD_S)),
        ("fork-share", (16 * MIB, 4, HOLD_S, "none")),
        ("clonevm", (16 * MIB, 5, HOLD_S)),
        ("hand-over", (16 * MIB, 8, 5)),
    ],
)
def test_pages_that_are_mapped_twice_count_once(
    program: str, args: tuple[object, ...], options: dict[str, Any]
) -> None:
    """The sum of RSS is 64 MiB or more, the footprint 16 MiB: a limit of 32 MiB kills none."""
    m = run(program, *args, memory_limit_bytes=LIMIT_BYTES, **options)
    assert m.exit.ok, m.exit


@pytest.mark.parametrize("options", GROUPS)
@pytest.mark.parametrize(
    ("program", "args"),
    [
        ("memfd", (64 * MIB, 0, 60.0)),
        ("memfd", (64 * MIB, 0, 60.0, "memfd", "allocate")),
        ("memfd", (64 * MIB, 1, 60.0)),
        ("shared", (64 * MIB, 3, 60.0, "own")),
        ("clonevm", (64 * MIB, 5, 60.0)),
        ("fork-share", (24 * MIB, 1, 60.0, "child")),
        ("hold", (64 * MIB, 1, 60.0)),
    ],
)
def test_what_the_tree_holds_counts(
    program: str, args: tuple[object, ...], options: dict[str, Any], marked: Any
) -> None:
    """Files in memory count whether a process maps them or not, and copied pages as well."""
    m = run(program, *args, memory_limit_bytes=LIMIT_BYTES, env=marked.env, **options)
    assert m.exit.reason == "memory_limit"
    assert marked.alive() == {}
    assert m.peak.high_bytes is None or m.peak.high_bytes >= LIMIT_BYTES


def test_a_file_in_memory_that_was_there_before_does_not_count() -> None:
    """A file in /dev/shm that another process wrote is not the command's, even if the command has it open."""
    path = Path(f"/dev/shm/concmem-test-{os.getpid()}")
    with contextlib.ExitStack() as after:
        after.callback(path.unlink, missing_ok=True)
        try:
            path.write_bytes(b"x" * (64 * MIB))
        except OSError as error:
            pytest.skip(f"64 MiB in /dev/shm: {error.strerror}")
        time.sleep(2.1)  # the times of files are compared in seconds
        # The command's own file is larger than what varies on every machine, so its open files are looked at.
        script = f'exec 3< "$0"; exec {shlex.join(known("memfd", 8 * MIB, 0, HOLD_S))}'
        m = concmem.measure(["/bin/sh", "-c", script, path], stdout=subprocess.DEVNULL, memory_limit_bytes=LIMIT_BYTES)
    assert m.exit.ok, m.exit
    assert m.peak.low_bytes is not None and between(8 * MIB, m.peak.low_bytes)


# --- pages that KSM merges

MERGED = """
import mmap, pathlib, time
size, part = 32 << 20, 1 << 20
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
memory.madvise(mmap.MADV_MERGEABLE)
merging = pathlib.Path("/proc/self/ksm_merging_pages")
for at in range(0, size, part):
    memory[at : at + part] = b"x" * part
    while int(merging.read_text()) * 4096 < at + part:
        time.sleep(0.001)
time.sleep(0.1)
"""


@pytest.fixture
def ksm() -> Iterator[None]:
    """Switch KSM on: it merges only what programs offer to it."""
    folder = Path("/sys/kernel/mm/ksm")
    wanted = {"sleep_millisecs": "1", "pages_to_scan": "1000", "run": "1"}
    before = {}
    try:
        for name, value in wanted.items():
            before[name] = (folder / name).read_text()
            (folder / name).write_text(value)
    except OSError as error:
        pytest.skip(f"KSM cannot be switched on: {error}")
    yield
    for name, value in reversed(before.items()):
        (folder / name).write_text(value)


@pytest.mark.alone
@pytest.mark.parametrize("processes", [1, 2])
def test_pages_that_ksm_merges_are_there_once(processes: int, ksm: None) -> None:
    """RSS counts 32 MiB that are one page. The range contains what the program has without them."""
    command = [sys.executable, "-S", "-c", MERGED]
    if processes == 2:
        command = ["/bin/sh", "-c", '"$@"; true', "sh", *command]
    m = concmem.measure(command)
    assert m.exit.ok and m.max_alive == processes
    assert m.peak.status == "bounded" and m.peak.low_bytes is not None and m.peak.high_bytes is not None
    own_bytes = concmem.measure([sys.executable, "-S", "-c", "import mmap, pathlib, time"]).peak.bytes
    assert own_bytes is not None
    assert m.peak.low_bytes <= own_bytes + 4 * MIB
    assert m.peak.high_bytes >= own_bytes
    assert m.largest_peak_rss.bytes is not None and m.largest_peak_rss.bytes >= 32 * MIB
