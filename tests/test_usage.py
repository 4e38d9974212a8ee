"""What the kernel counts besides memory: faults, context switches, bytes of storage, CPU time, USS and VMS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20

WRITES = "import os, sys; f = open(sys.argv[1], 'wb'); f.write(bytes(8 << 20)); f.flush(); os.fsync(f.fileno())"
SLEEPS = "import time\nfor _ in range(50): time.sleep(0.001)"
FAULTS = "import mmap; m = mmap.mmap(-1, 8 << 20, mmap.MAP_SHARED)\nfor i in range(0, 8 << 20, 4096): m[i] = 1"


def rusage(command: list[str]) -> Any:
    """Return what the kernel reports of a command that is run without concmem."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage


@pytest.mark.parametrize("shell", [False, True], ids=["the root", "a child"])
def test_the_same_as_the_kernel_reports(shell: bool, tmp_path: Path) -> None:
    """Bytes of storage, faults and switches of a command are those that wait4 reports when it runs by itself."""
    for script in (WRITES, SLEEPS, FAULTS):
        command = [sys.executable, "-c", script, str(tmp_path / "file")]
        expected = rusage(command)
        m = concmem.measure(["sh", "-c", '"$@"; exit', "sh", *command] if shell else command, check=True)
        root = m.processes[0]
        for found in (m, root):  # the root has waited for its child
            assert found.written_bytes is not None and found.minor_faults is not None
            assert found.voluntary_switches is not None and found.involuntary_switches is not None
            assert abs(found.written_bytes - expected.ru_oublock * 512) <= MIB
            assert abs(found.minor_faults - expected.ru_minflt) <= 500
            if script == SLEEPS:
                assert found.voluntary_switches >= 50 <= expected.ru_nvcsw
            if script == FAULTS:
                assert found.minor_faults >= 8 * MIB // os.sysconf("SC_PAGESIZE") // 16  # at most 16 pages a fault
        assert m.read_bytes is not None and m.major_faults == root.major_faults


def test_reading_from_storage(tmp_path: Path) -> None:
    """Reading past the page cache counts as the kernel says; reading what the page cache has does not."""
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * MIB))
    os.sync()
    command = ["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"]
    past = [*command, "iflag=direct"]
    direct = concmem.measure(past)
    if direct.exit.ok:  # not every file system can do it
        expected = rusage(past)
        assert direct.read_bytes is not None
        assert abs(direct.read_bytes - expected.ru_inblock * 512) <= MIB
    for _ in range(20):  # the kernel may drop pages at any time
        cached = concmem.measure(command, check=True)
        assert cached.read_bytes is not None
        if cached.read_bytes <= MIB:
            break
    assert cached.read_bytes <= MIB


def test_the_size_of_the_address_space() -> None:
    """1 GiB that is mapped and never touched is in VMS and not in the figures."""
    script = "import mmap, time; m = mmap.mmap(-1, 1 << 30); time.sleep(0.3)"
    for _ in range(20):  # on a busy machine the last reading can be before the mapping
        m = concmem.measure([sys.executable, "-c", script], check=True)
        if m.maxima["statm.vms"] >= 1 << 30:
            break
    (process,) = m.processes
    assert process.peak_vms_bytes is not None
    assert 1 << 30 <= process.peak_vms_bytes <= 3 << 30
    assert process.peak_vms_bytes == m.maxima["statm.vms"]
    assert m.peak < "200 MiB"
    assert int(m.timeline.track("statm")["vms_max"].max()) == process.peak_vms_bytes


def test_uss_of_a_process() -> None:
    """What a process has by itself is its USS; what four processes share is in none of theirs."""
    for hold_s in (0.5, 2, 8):  # a busy machine may need long for a reading of PSS
        alone = concmem.measure(known("hold", 32 * MIB, 1, hold_s), stdout=concmem.DEVNULL, pss_budget=0.2)
        if alone.processes[0].peak_uss_bytes:
            break
    assert 32 * MIB <= (alone.processes[0].peak_uss_bytes or 0) <= 36 * MIB
    assert alone.processes[0].peak_uss_bytes == alone.maxima["smaps_rollup.uss"]
    assert concmem.measure(known("hold", MIB, 1, 0.1), stdout=concmem.DEVNULL, pss_budget=0).processes[0] is not None


def test_percent_of_a_cpu() -> None:
    """A tree that waits uses nearly nothing, and one that computes is above 0; the property is the quotient."""
    busy = concmem.measure([sys.executable, "-c", "sum(range(3_000_000))"])
    waiting = concmem.measure(["sleep", "0.5"])
    for m in (busy, waiting):
        assert m.cpu_percent == pytest.approx(100 * (m.user_s + m.system_s) / m.tree_wall_s)
    assert waiting.cpu_percent < 50 and busy.cpu_percent > 0
    assert busy.processes[0].cpu_percent is not None and busy.processes[0].cpu_percent > 0
    unknown = concmem.Process(1, 0, "x", (), 0.0, 0.0, waiting.peak)
    assert unknown.cpu_percent is None


def test_stored_and_loaded(tmp_path: Path) -> None:
    """The numbers are stored; a file of an older schema has none of them."""
    m = concmem.measure(["true"])
    m.save(tmp_path / "m.json")
    assert concmem.load(tmp_path / "m.json") == m
    plain = m.to_dict()
    new = ("voluntary_switches", "involuntary_switches", "read_bytes", "written_bytes")
    older = {key: value for key, value in plain.items() if key not in new}
    older["processes"] = [
        {key: value for key, value in each.items() if key not in (*new, "peak_uss_bytes", "peak_vms_bytes")}
        for each in older["processes"]
    ]
    loaded = concmem.Measurement.from_dict({**older, "schema": 4})
    assert (loaded.read_bytes, loaded.voluntary_switches, loaded.processes[0].peak_vms_bytes) == (None, None, None)


def test_exit_records_have_them_too() -> None:
    """As root, the processes that a shell waited for have their own numbers."""
    if not {source.name: source for source in concmem.probe()}["taskstats"].usable:
        pytest.skip("taskstats is not usable here: it needs CAP_NET_ADMIN in the initial user namespace")
    script = '"$0" -c "$1"; "$0" -c "$2"; exit'
    for _ in range(5):  # a busy machine may lose a record
        m = concmem.measure(["sh", "-c", script, sys.executable, SLEEPS, FAULTS], taskstats=True, check=True)
        children = [process for process in m.processes[1:] if process.voluntary_switches is not None]
        if len(children) == 2:
            break
    sleeps, faults = children
    assert (sleeps.voluntary_switches or 0) >= 50
    assert (faults.minor_faults or 0) >= 8 * MIB // os.sysconf("SC_PAGESIZE") // 16
    assert (faults.peak_vms_bytes or 0) >= 8 * MIB
    assert sleeps.read_bytes is not None and sleeps.written_bytes is not None
