"""Other tools that measure a command's memory over time. Each is used as often as it manages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PSUTIL = """
import subprocess, sys, time
import psutil

child = subprocess.Popen(sys.argv[1:])
process = psutil.Process(child.pid)
readings = []
while child.poll() is None:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    readings.append((time.monotonic(), total))
    time.sleep(0.001)
for t_s, total in readings:
    print(t_s, total, file=sys.stderr)
"""
"""A program that measures its arguments with psutil, and prints its readings (seconds, bytes) on standard error."""


def _psutil(command: Sequence[str], folder: Path) -> list[str]:
    return [sys.executable, "-c", PSUTIL, *command]


def _psrecord(command: Sequence[str], folder: Path) -> list[str]:
    line = " ".join(f"'{word}'" for word in command)
    options = ["--interval", "0.001", "--include-children", "--log", str(folder / "log")]
    return [sys.executable, "-m", "psrecord", line, *options]


def _mprof(command: Sequence[str], folder: Path) -> list[str]:
    options = ["run", "-T", "0.001", "-C", "-o", str(folder / "mprof.dat"), "--nopython"]
    return [sys.executable, "-m", "mprof", *options, *command]


_ALL: dict[str, tuple[str, Callable[[Sequence[str], Path], list[str]]]] = {
    "psutil": ("psutil", _psutil),
    "psrecord": ("psrecord", _psrecord),
    "mprof": ("mprof", _mprof),
}
PEERS = tuple(name for name, (module, _) in _ALL.items() if importlib.util.find_spec(module))
"""The peers that are installed here."""


def run_peer(name: str, command: Sequence[str], folder: Path) -> float:
    """
    Let a peer measure a command.

    Returns:
        The share of a CPU that the peer itself used. What the command used is not in it.
    """
    before_s = time.perf_counter()
    peer = subprocess.Popen(_ALL[name][1](command, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pidfd = os.pidfd_open(peer.pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    wall_s = time.perf_counter() - before_s
    own = _own_cpu_s(peer.pid)
    os.close(pidfd)
    peer.wait()
    return own / wall_s


def _own_cpu_s(pid: int) -> float:
    """Return the CPU time of a zombie without that of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
