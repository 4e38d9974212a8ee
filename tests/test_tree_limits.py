"""Limits that the sampler enforces on the whole tree: CPU time, processes, and the grace after a timeout."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import concmem

END_S = 60.0
"""How long a tree may take to end on a busy machine."""

LOOP = "i=0; while :; do i=$((i+1)); done"
SPIN = "while True: pass"
THREADS = f"import threading\nfor _ in range(4): threading.Thread(target=exec, args=({SPIN!r},)).start()"
DAEMON = f"import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  exec({SPIN!r})"
POLITE = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def cpu_s(m: concmem.Measurement) -> float:
    """Return the CPU time of the tree."""
    return m.user_s + m.system_s


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", LOOP],
        f"({LOOP}) & ({LOOP}) & wait",
        "while :; do (i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done); done",
        [sys.executable, "-c", THREADS],
        [sys.executable, "-c", DAEMON],
    ],
    ids=["one", "two at once", "many one after the other", "threads", "a daemon"],
)
def test_the_limit_on_cpu_time(command: Any, marked: Any) -> None:
    """CPU time of all processes counts: living ones, ended ones, threads and daemons."""
    limit_s = 0.4
    m = concmem.measure(command, cpu_limit_s=limit_s, env=marked.env, timeout_s=10 * END_S)
    assert m.exit.reason == "cpu_limit"
    assert not m.exit.ok and "over the limit on CPU time" in str(m.exit)
    assert "until it was ended by the limit on CPU time" in str(m)
    assert cpu_s(m) >= 0.99 * limit_s  # the kernel rounds each process's time down
    assert marked.alive() == {}


def test_cpu_time_below_the_limit() -> None:
    """Time that passes without CPU time does not count, nor does the sampler's own CPU time."""
    m = concmem.measure("sleep 0.8; true; true", cpu_limit_s=0.5, interval_s=0.0005)
    assert m.exit.ok and m.wall_s > 0.5


def test_the_limit_on_processes(marked: Any) -> None:
    """A tree of more processes is killed; threads do not count."""
    m = concmem.measure("for i in 1 2 3 4 5 6; do sleep 600 & done; wait", processes_limit=5, env=marked.env)
    assert m.exit.reason == "processes_limit"
    assert "over the limit on processes" in str(m.exit)
    assert m.max_alive > 5
    assert marked.alive() == {}
    threads = "import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=(0.3,)).start()"
    m = concmem.measure([sys.executable, "-c", threads], processes_limit=1)
    assert m.exit.ok
    assert concmem.measure("sleep 0.2 & sleep 0.2 & wait", processes_limit=3).exit.ok


def test_a_fork_bomb(marked: Any) -> None:
    """A tree that forks as fast as it can is killed at the limit."""
    bomb = "import os, time\nfor _ in range(300): os.fork() or time.sleep(600)\ntime.sleep(600)"
    m = concmem.measure([sys.executable, "-c", bomb], processes_limit=20, env=marked.env)
    assert m.exit.reason == "processes_limit"
    assert marked.alive() == {}


def test_the_grace_after_a_timeout(marked: Any) -> None:
    """At the timeout every process gets SIGTERM, and can end by itself; the reason is the timeout."""
    polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    for timeout_s in (1, 4, 16):  # a busy machine may need long to start the shell
        m = concmem.measure(
            ["sh", "-c", polite], timeout_s=timeout_s, timeout_grace_s=END_S, stdout=concmem.PIPE, env=marked.env
        )
        if m.stdout:
            break
    assert m.stdout is not None and m.stdout.decode().split() == ["ready", "bye"]
    assert (m.exit.code, m.exit.reason) == (3, "timeout")
    assert not m.exit.ok
    assert timeout_s <= m.wall_s < timeout_s + END_S
    assert marked.alive() == {}


def test_the_end_of_the_grace(marked: Any) -> None:
    """A process that ignores SIGTERM is killed after the grace; so is one that was left by the root."""
    for timeout_s in (0.5, 2, 8):  # a busy machine may need long to start the shell
        m = concmem.measure("trap '' TERM; sleep 600", timeout_s=timeout_s, timeout_grace_s=0.4, env=marked.env)
        assert m.exit.reason == "timeout"
        if m.exit.signal != signal.SIGTERM:
            break
    assert m.exit.signal == signal.SIGKILL
    assert m.wall_s >= timeout_s + 0.4
    for leftover in ("wait", "kill", "leave"):
        m = concmem.measure(
            "(trap '' TERM; sleep 600) & exec sleep 600", timeout_s=0.5, timeout_grace_s=0.4, leftover=leftover,
            env=marked.env,
        )  # fmt: skip
        assert (m.exit.signal, m.exit.reason) == (signal.SIGTERM, "timeout")
        assert m.left_running == ()
        assert marked.alive() == {}


@pytest.mark.parametrize("timeout_s", [1e-6, 0.0005, 0.001, 0.002])
def test_a_grace_about_the_first_tick(timeout_s: float, marked: Any) -> None:
    """A timeout before the first reading also sends SIGTERM first."""
    for _ in range(5):
        m = concmem.measure("sleep 600 & exec sleep 600", timeout_s=timeout_s, timeout_grace_s=END_S, env=marked.env)
        assert (m.exit.signal, m.exit.reason) == (signal.SIGTERM, "timeout")
        assert marked.alive() == {}


def test_stopped_processes_get_the_grace_too(marked: Any) -> None:
    """SIGCONT follows SIGTERM, so that a stopped process can act on it."""
    m = concmem.measure("kill -STOP $$", timeout_s=0.3, timeout_grace_s=END_S, env=marked.env)
    assert (m.exit.signal, m.exit.reason) == (signal.SIGTERM, "timeout")


def test_stop_during_the_grace(marked: Any) -> None:
    """`stop` does not wait for it; the reason is still the timeout."""
    with concmem.start("trap '' TERM; sleep 600", timeout_s=0.2, timeout_grace_s=600, env=marked.env) as running:
        until_s = time.monotonic() + 0.5
        while time.monotonic() < until_s:
            time.sleep(0.05)
        running.stop()
        assert running.wait().exit.reason in ("timeout", "interrupted")
    assert marked.alive() == {}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--cpu-limit", "200ms", "--", "sh", "-c", LOOP], 124),
        (["--timeout", "300ms", "--timeout-grace", "60s", "--", "sh", "-c", POLITE], 124),
        (["--processes-limit", "2", "--", "sh", "-c", "sleep 600 & sleep 600 & sleep 600 & wait"], 137),
    ],
    ids=["cpu", "grace", "processes"],
)
def test_the_command(words: list[str], status: int) -> None:
    """``concmem run`` has the same limits, and ends as for the limits that it had."""
    done = subprocess.run([sys.executable, "-m", "concmem", "run", *words], capture_output=True, timeout=600)
    assert done.returncode == status
