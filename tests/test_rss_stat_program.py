"""The eBPF program of rss_stat alone: its sums and maxima are compared with the kernel's page tables."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from c_programs import compile_c

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile tests/c/rss_stat_harness.c with the files of the source."""
    csrc = ROOT / "csrc"
    program = tmp_path_factory.mktemp("rss_stat") / "rss_stat_harness"
    sources = [
        csrc / "sources/rss_stat.c",
        csrc / "sources/rss_stat_program.c",
        csrc / "shared/lines.c",
        csrc / "shared/proc.c",
    ]
    return compile_c(program, "rss_stat_harness", *sources)


@pytest.fixture
def group() -> Iterator[Path]:
    """Make a control group of version 2 with a child group."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(where) for where, kind in mounts if kind == "cgroup2"]
    if not roots:
        pytest.skip("there is no cgroup v2 mount")
    made = roots[0] / f"concmem-test-{os.getpid()}"
    try:
        (made / "below").mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no control group can be made in {roots[0]}: {error.strerror}")
    yield made
    (made / "below").rmdir()
    made.rmdir()


def run(harness: Path, group: Path, scenario: str, launch_group: Path | None = None) -> dict[str, Any]:
    done = subprocess.run(
        [harness, group, launch_group or group, scenario], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    if "error" in result:
        pytest.skip(result["why"])
    assert result["status"] == 0, "the target failed"
    assert result["lost"] == 0
    assert result["not_raised"] == 0
    assert result["last"] == 0, "all have ended, and something is still counted"
    return result


def test_one_process_to_the_page(harness: Path, group: Path) -> None:
    """With events on another CPU, all kinds of memory, and a vfork from an address space that is not counted."""
    result = run(harness, group, "hold")
    assert result["sum"] == result["truth"] > 130 * MIB
    assert result["peak"] >= result["sum"]


def test_a_group_below_counts(harness: Path, group: Path) -> None:
    result = run(harness, group, "hold", launch_group=group / "below")
    assert result["sum"] == result["truth"] > 130 * MIB


def test_shared_pages_count_in_each(harness: Path, group: Path) -> None:
    result = run(harness, group, "share")
    assert result["sum"] == result["truth"] > 1000 * MIB


def test_changes_of_other_processes_are_not_counted(harness: Path, group: Path) -> None:
    """The target truncates a file that another process has mapped. The size of that process is not counted."""
    result = run(harness, group, "truncate")
    assert result["sum"] == result["truth"] < 32 * MIB


def test_two_processes_that_grow_together(harness: Path, group: Path) -> None:
    """Both CPUs raise the same sum and maximum. In each round the maximum is the sum of both largest sizes."""
    assert run(harness, group, "processes")["off"] == 0


def test_two_threads_that_grow_together(harness: Path, group: Path) -> None:
    """If two threads change a size at once, updates can be reordered: rarely, and by one event (here 16 pages)."""
    result = run(harness, group, "threads")
    assert result["off"] <= result["rounds"] // 50
    assert result["worst"] <= 16 * 4096


@pytest.mark.parametrize("pace", ["spikes", "spikes_busy"])
def test_every_spike_is_complete_in_its_window(harness: Path, group: Path, pace: str) -> None:
    """Each spike of 20 MiB is complete in the right window, at 1 kHz and with windows read back to back."""
    result = run(harness, group, pace)
    assert result["missed"] == 0 and result["judged"] > 0
    assert result["peak"] == result["top"] > 25 * MIB


def test_processes_that_others_read(harness: Path, group: Path) -> None:
    """If the last reader of a process, outside of the group, frees its memory, the sum goes back to 0."""
    assert run(harness, group, "lives")["events"] > 10_000
