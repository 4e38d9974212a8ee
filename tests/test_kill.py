"""Killing the tree: by timeout, by limit, by request, by the host's end; always completely and soon."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import concmem
from concmem import errors
from concmem.testing import known

MIB = 1 << 20

END_S = 50.0
"""After this time a tree counts as not killed. It takes milliseconds on an idle machine, seconds on a busy one."""

pytestmark = pytest.mark.usefixtures("no_child_left")

TREE = "sleep 987654 & setsid sleep 987654 & (nohup sleep 987654 >/dev/null 2>&1 &) ; echo up; wait"


def test_timeout() -> None:
    """At the timeout the tree is killed. The result is what was measured until then."""
    for timeout_s in (0.5, 2, 8):  # a busy machine may need long to touch 30 MiB
        started_s = time.monotonic()
        m = concmem.measure(known("hold", 30 * MIB, 1, 600), timeout_s=timeout_s, stdout=subprocess.DEVNULL)
        assert time.monotonic() - started_s < timeout_s + END_S
        assert (m.exit.reason, m.exit.code, m.exit.signal) == ("timeout", None, signal.SIGKILL)
        assert timeout_s <= m.wall_s < timeout_s + END_S
        assert m.peak.bytes is not None
        if m.peak.bytes >= 30 * MIB - m.peak.error_bytes:
            return
    pytest.fail(f"the peak is {m.peak}")


def test_timeout_that_is_not_reached() -> None:
    """A target that ends in time has the reason `exited`."""
    m = concmem.measure(["/bin/sleep", "0.1"], timeout_s=600)
    assert m.exit.reason == "exited"
    assert m.wall_s < 600


def test_timeout_kills_daemons(marked: Any) -> None:
    """The timeout applies to the tree: it kills a daemon that outlives the root."""
    m = concmem.measure(known("daemonize", 0, 600), timeout_s=0.7, stdout=subprocess.DEVNULL, env=marked.env)
    assert m.exit.reason == "timeout"
    assert m.tree_wall_s < 0.7 + END_S
    assert marked.alive() == {}


def test_stubborn_targets(marked: Any) -> None:
    """Processes that ignore signals, and stopped processes, are killed."""
    m = concmem.measure(
        "trap '' HUP INT TERM QUIT; sh -c 'kill -STOP $$' & sleep 600 & wait", timeout_s=0.5, env=marked.env
    )
    assert m.exit.reason == "timeout"
    assert m.tree_wall_s < 0.5 + END_S
    assert marked.alive() == {}


OVERSHOOT_BYTES = 150 * MIB
"""What a ramp adds until it is killed on a machine so busy that this takes 1.5 s; in total it would add 350 MiB."""


def test_memory_limit(marked: Any) -> None:
    """A tree that grows above the limit is killed soon after."""
    m = concmem.measure(
        known("ramp", 400 * MIB, 4, 4000), memory_limit_bytes=50 * MIB, stdout=subprocess.DEVNULL, env=marked.env
    )
    assert m.exit.reason == "memory_limit"
    assert m.exit.signal == signal.SIGKILL
    assert m.largest_peak_rss.bytes is not None
    assert 50 * MIB - m.largest_peak_rss.error_bytes <= m.largest_peak_rss.bytes <= 50 * MIB + OVERSHOOT_BYTES
    assert marked.alive() == {}


def test_memory_limit_that_is_not_reached() -> None:
    """A tree below the limit is not killed."""
    m = concmem.measure(known("hold", 40 * MIB, 1, 0.3), memory_limit_bytes=60 * MIB, stdout=subprocess.DEVNULL)
    assert m.exit.ok


def test_stop(marked: Any) -> None:
    """`stop` kills the tree; `wait` then returns the measurement; `fileno` becomes readable at the end."""
    running = concmem.start(TREE, stdout=subprocess.DEVNULL, env=marked.env)
    marked.wait_for(5)  # the sampler, the shell and its three children
    assert Path(f"/proc/{running.root_pid}").exists()
    running.stop()
    m = running.wait()
    assert m.exit.reason == "interrupted"
    assert len(m.processes) >= 4
    assert m.tree_wall_s < 60
    assert marked.alive() == {}


def test_stop_after_the_end_and_twice() -> None:
    """Stopping an ended measurement does nothing."""
    running = concmem.start(["/bin/true"])
    assert select.select([running.fileno()], [], [], END_S)[0]
    running.stop()
    running.stop()
    assert running.wait().exit.ok


def test_stop_before_the_first_tick(marked: Any) -> None:
    """A tree that has just started is killed as well."""
    for _ in range(20):
        running = concmem.start("sleep 600 & sleep 600 & wait", env=marked.env)
        running.stop()
        assert running.wait().exit.reason == "interrupted"
    assert marked.alive() == {}


@pytest.mark.parametrize("timeout_s", [1e-6, 0.0002, 0.0005, 0.001, 0.002])
def test_timeouts_about_the_first_tick(timeout_s: float, marked: Any) -> None:
    """A timeout before the first reading works as well."""
    m = concmem.measure("sleep 600 & sleep 600 & wait", timeout_s=timeout_s, env=marked.env)
    assert m.exit.reason == "timeout"
    assert timeout_s <= m.wall_s < timeout_s + END_S
    assert marked.alive() == {}


def test_a_host_that_dies_before_the_first_tick(marked: Any) -> None:
    """The sampler checks whether its host still runs when it starts to tick, and kills the tree if not."""
    script = "import concmem, os, signal; concmem.start('sleep 600 & wait'); os.kill(os.getpid(), signal.SIGKILL)"
    for _ in range(5):
        subprocess.run([sys.executable, "-c", script], env=marked.env, check=False)
        marked.wait_for(0)


def test_stop_from_another_thread(marked: Any) -> None:
    """One thread waits, and another calls `stop`."""
    running = concmem.start(["/bin/sleep", "600"], env=marked.env)
    stopper = threading.Timer(0.3, running.stop)
    stopper.start()
    m = running.wait()
    stopper.join()
    assert m.exit.reason == "interrupted"
    assert 0.2 <= m.wall_s < 0.3 + END_S


HOST = """
import sys, concmem
print("go", flush=True)
concmem.measure(sys.argv[1])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_tree_dies_with_its_host(how: signal.Signals, marked: Any) -> None:
    """If a host is killed or interrupted during a measurement, sampler and tree end too."""
    with subprocess.Popen(
        [sys.executable, "-c", HOST, TREE], env=marked.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as host:
        marked.wait_for(6)  # the host, its sampler, the shell and its three children
        host.send_signal(how)
        host.wait(timeout=END_S)
    marked.wait_for(0)


def test_interrupting_a_measurement_keeps_the_host(host_python: Any, marked: Any) -> None:
    """Ctrl-C raises a KeyboardInterrupt in the host after the whole tree has ended."""
    script = (
        "import json, os, signal, threading, concmem\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    concmem.measure('sleep 600 & setsid sleep 600 & wait')\n"
        "except KeyboardInterrupt:\n"
        "    print(json.dumps('interrupted'))\n"
    )
    assert host_python(script) == "interrupted"
    marked.wait_for(0)


def test_the_tree_outlives_the_thread_that_started_it() -> None:
    """The tree is killed at the end of the host, not at the end of the thread that called `start`."""
    started: list[Any] = []
    thread = threading.Thread(target=lambda: started.append(concmem.start(["/bin/sh", "-c", "sleep 0.8; exit 4"])))
    thread.start()
    thread.join()
    m = started[0].wait()
    assert (m.exit.reason, m.exit.code) == ("exited", 4)
    assert m.wall_s >= 0.8


def test_a_killed_sampler_is_an_error(marked: Any) -> None:
    """If the sampler is killed, there is an error and no result, and the root ends."""
    for _ in range(20):  # some of them die between the start of the root and its exec
        running = concmem.start(["/bin/sleep", "600"], env=marked.env)
        (sampler,) = [p for p in psutil.Process().children() if p.name().startswith("concmem-sampler"[:15])]
        sampler.kill()
        with pytest.raises(errors.SamplerError) as raised:
            running.wait()
        assert "\n" not in str(raised.value)
    marked.wait_for(0)


def test_a_thousand_that_fork(compiled: Callable[[str], str], marked: Any) -> None:
    """Processes that fork without end hold kernel locks and use every CPU. The tree is still killed."""
    m = concmem.measure([compiled("bomb"), "1000", "90"], timeout_s=2.0, env=marked.env)
    assert m.exit.reason == "timeout"
    assert m.tree_wall_s < 2.0 + END_S
    assert m.sampler.survivors == ()
    assert marked.alive() == {}


def test_refork_bomb(marked: Any) -> None:
    """64 chains of processes, each forking its successor and exiting at once, are killed in bounded time."""
    m = concmem.measure(known("refork", 64, 90), timeout_s=1.0, stdout=subprocess.DEVNULL, env=marked.env)
    assert m.exit.reason == "timeout"
    assert m.tree_wall_s < 1.0 + END_S
    assert marked.alive() == {}
    assert m.sampler.survivors == ()
    assert m.max_alive > 16


def test_nothing_else_is_killed() -> None:
    """Killing one tree does not affect the host's other children and measurements."""
    bystander = subprocess.Popen(["/bin/sleep", "600"])
    other = concmem.start(["/bin/sh", "-c", "sleep 0.8; exit 6"])
    try:
        assert concmem.measure(["/bin/sleep", "600"], timeout_s=0.2).exit.reason == "timeout"
        assert bystander.poll() is None
        assert other.wait().exit.code == 6
    finally:
        os.kill(bystander.pid, signal.SIGKILL)
        assert bystander.wait() == -signal.SIGKILL
