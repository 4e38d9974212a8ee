"""Programs that hold a known number of bytes: the figures must show it, exactly or within their error."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable
from typing import Any

import psutil
import pytest

import concmem
from concmem._figures.ground_truth import START_UP_JITTER_BYTES
from concmem._files.paths import PROGRAMS
from concmem.errors import InvalidRequest
from concmem.testing import known, known_names

MIB = 1 << 20

TRUE_BYTES = 2 * MIB
"""More than /bin/true needs (about 1 MiB: pages of libc and the loader), and less than any host here holds."""

HOLD_S = 0.15
"""Long enough for many readings at 1 kHz, even if another process has the CPU for some time."""

small_sampler = pytest.mark.skipif(
    bool(os.environ.get("CONCMEM_SANITIZE")),
    reason="a sampler with a sanitizer (CONCMEM_SANITIZE) is larger than /bin/true, whose ru_maxrss includes it",
)
pytestmark = pytest.mark.usefixtures("no_child_left")


@functools.cache
def start_up_bytes(threads: int) -> int:
    """Return the start-up size of `hold`, including the stacks of its threads."""
    peak = concmem.measure(known("hold", 0, threads, HOLD_S), stdout=subprocess.DEVNULL).root_peak_rss
    assert peak.high_bytes is not None
    return peak.high_bytes


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("held_bytes", [10 * MIB, 100 * MIB, 1000 * MIB])
def test_exact_bytes(held_bytes: int, threads: int) -> None:
    """The figure is at least the true amount less its error, and at most the true amount plus the start-up size."""
    m = concmem.measure(known("hold", held_bytes, threads, HOLD_S), stdout=subprocess.DEVNULL)
    figure = m.root_peak_rss
    assert figure.status in ("exact", "bounded")
    assert figure.bytes is not None
    assert figure.bytes >= held_bytes - figure.error_bytes
    assert figure.bytes <= held_bytes + start_up_bytes(threads) + START_UP_JITTER_BYTES
    assert m.exit.code == 0
    assert m.max_threads == (threads + 1 if threads > 1 else 1)


def test_headline_of_one_process_is_its_high_water_mark() -> None:
    """With one process at a time, `peak` is the largest high-water mark, which is that of the root."""
    m = concmem.measure(known("hold", 50 * MIB, 1, HOLD_S), stdout=subprocess.DEVNULL)
    assert m.max_alive == 1
    assert m.peak.bytes == m.largest_peak_rss.bytes == m.root_peak_rss.bytes
    assert m.processes[0].peak.bytes == m.root_peak_rss.bytes
    assert m.tree_upper_bound.bytes is not None and m.peak.bytes is not None
    assert m.tree_upper_bound.bytes >= 50 * MIB


def test_headline_of_processes_one_after_another() -> None:
    """A shell that runs 30 MiB and then 60 MiB needed 60 MiB and its own size at once, not 90 MiB."""
    m = concmem.measure(
        f"{known('hold')[0]} {30 * MIB} 1 0.2; {known('hold')[0]} {60 * MIB} 1 0.2", stdout=subprocess.DEVNULL
    )
    assert m.peak.bytes is not None and m.root_peak_rss.bytes is not None
    assert m.peak.bytes + m.peak.error_bytes >= 60 * MIB
    assert m.peak.bytes <= 64 * MIB
    assert m.root_peak_rss.bytes < 4 * MIB


def test_short_lived_processes_are_exact() -> None:
    """Processes too short for any reading have the right size too: the kernel records it."""
    m = concmem.measure(known("hold", 20 * MIB, 1, 0), interval_s=0.2, stdout=subprocess.DEVNULL)
    figure = m.root_peak_rss
    assert figure.bytes is not None
    assert 20 * MIB - figure.error_bytes <= figure.bytes <= 20 * MIB + start_up_bytes(1) + START_UP_JITTER_BYTES


BIG_HOST = """
import json, sys, concmem
held = bytearray(b"x") * int(sys.argv[1])
rss = int(open("/proc/self/statm").read().split()[1]) * 4096
m = concmem.measure(["/bin/true"])
print(json.dumps([rss, m.peak.bytes, m.root_peak_rss.high_bytes, m.exit.code]))
"""


@small_sampler
@pytest.mark.parametrize("host_bytes", [500 * MIB, 4096 * MIB])
def test_true_from_a_large_host(host_bytes: int, host_python: Callable[..., Any]) -> None:
    """/bin/true is below 2 MiB, whatever the host holds: no memory of the host is in the target's figure."""
    if psutil.virtual_memory().available < host_bytes + (1 << 30):
        pytest.skip(f"a host of {host_bytes >> 20} MiB needs that much free memory and 1 GiB more")
    rss_bytes, peak_bytes, high_bytes, code = host_python(BIG_HOST, host_bytes)
    assert rss_bytes >= host_bytes
    assert code == 0
    assert 0 < peak_bytes < TRUE_BYTES
    assert high_bytes < TRUE_BYTES


@small_sampler
def test_sampler_is_small() -> None:
    """The sampler needs less than 1 MiB, and so does any program that inherits its mark (`floor_bytes`)."""
    m = concmem.measure(["/bin/sleep", "0.3"])
    assert 0 < m.sampler.rss_bytes < MIB
    assert 0 < m.sampler.floor_bytes < MIB


def test_known_programs_say_what_they_hold() -> None:
    """The first comment of every program of known size describes what it does and begins with its name."""
    assert set(known_names()) == {path.stem for path in (PROGRAMS / "known").glob("*.c")}
    for name in known_names():
        text = (PROGRAMS / "known" / f"{name}.c").read_text()
        assert text.startswith(f"/*\n * {name} ")


def test_unknown_program_is_refused() -> None:
    """The error for an unknown name lists the known ones."""
    with pytest.raises(InvalidRequest, match=r"no program of known size 'nothing'.*hold"):
        known("nothing")
