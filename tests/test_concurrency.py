"""Many measurements at once, hosts that treat their children unusually, and a thousand measurements in a row."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20

START_UP_BYTES = 2 * MIB
"""More than the start-up size of `hold` with one thread (about 1 MiB)."""

LEAK_BYTES = 4 * MIB
"""By how much the host may grow over 1,000 measurements, 4 KiB each, or over 10,000. One leaked recording is more."""

pytestmark = pytest.mark.usefixtures("no_child_left")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_64_at_once_beside_subprocesses() -> None:
    """64 threads each measure a program of another size and exit code. The host can reap all its own children."""
    done = threading.Event()
    codes: list[tuple[int, int]] = []

    def run_children() -> None:
        count = 0
        while not done.is_set():
            count += 1
            expected = count % 200
            codes.append((expected, subprocess.run(["/bin/sh", "-c", f"exit {expected}"]).returncode))

    def measure(index: int) -> tuple[int, int, int]:
        hold = " ".join(known("hold", (index + 1) * MIB, 1, 0.3))
        m = concmem.measure(f"{hold}; exit {index}", stdout=subprocess.DEVNULL)
        assert m.largest_peak_rss.bytes is not None and m.exit.code is not None
        return m.exit.code, m.largest_peak_rss.bytes, m.largest_peak_rss.error_bytes

    known("hold")  # compiled before the threads begin
    others = threading.Thread(target=run_children)
    others.start()
    try:
        with ThreadPoolExecutor(64) as pool:
            results = list(pool.map(measure, range(64)))
    finally:
        done.set()
        others.join()
    assert [code for code, _, _ in results] == list(range(64))
    for index, (_, peak_bytes, error_bytes) in enumerate(results):
        held_bytes = (index + 1) * MIB
        assert held_bytes - error_bytes <= peak_bytes <= held_bytes + START_UP_BYTES
    assert codes and all(expected == got for expected, got in codes)


@pytest.mark.parametrize("calls", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_nothing_leaks_over_many_repeats(calls: int) -> None:
    """Thousands of measurements, some of which fail, leak no descriptor, mapping or memory."""

    def repeat(times: int) -> None:
        for index in range(times):
            m = concmem.measure(["/bin/true"])
            assert m.exit.ok
            if index % 10 == 0:
                assert m.timeline.rss_bytes is not None
                with contextlib.suppress(concmem.CommandNotFound):
                    concmem.measure(["/nonexistent"])

    repeat(50)
    gc.collect()
    before = open_files(), mappings(), rss_bytes()
    repeat(calls)
    gc.collect()
    assert open_files() == before[0]
    assert mappings() <= before[1] + 8  # the allocator's arenas
    assert rss_bytes() <= before[2] + LEAK_BYTES


def test_arrays_outlive_the_measurement() -> None:
    """Arrays of a timeline stay valid when the measurement does not exist any more."""
    rss = concmem.measure(known("hold", 9 * MIB, 1, 0.1), stdout=subprocess.DEVNULL).timeline.rss_bytes
    gc.collect()
    concmem.measure(["/bin/true"])
    assert 9 * MIB <= int(rss.max()) <= 9 * MIB + START_UP_BYTES


def test_reused_memory_is_cleared() -> None:
    """Shared memory is reused, and its former content is not visible."""
    many = concmem.measure("for i in 1 2 3; do sleep 0.5 & done; wait; exit 7")
    assert many.exit.code == 7 and len(many.processes) == 4 and many.sampler.ticks > 5
    one = concmem.measure(["/bin/true"])
    assert one.exit.code == 0 and one.exit.reason == "exited"
    (process,) = one.processes
    assert process.pid not in {p.pid for p in many.processes} and process.comm == "true"
    assert len(one.timeline) <= one.sampler.ticks
    assert one.max_alive == 1
    assert one.peak.high_bytes and one.tree_upper_bound.high_bytes
    assert one.peak.high_bytes <= one.tree_upper_bound.high_bytes <= one.peak.high_bytes + MIB // 4


FORKED = """
import os, sys, concmem
concmem.measure(["/bin/true"])
pid = os.fork()
codes = [concmem.measure(["/bin/sh", "-c", f"exit {i % 7 + (10 if pid == 0 else 0)}"]).exit.code for i in range(50)]
right = codes == [i % 7 + (10 if pid == 0 else 0) for i in range(50)]
if pid == 0:
    os._exit(0 if right else 1)
sys.exit(0 if right and os.waitpid(pid, 0)[1] == 0 else 1)
"""


def test_a_forked_host() -> None:
    """After a fork, parent and child can both measure, each with its own memory."""
    assert subprocess.run([sys.executable, "-c", FORKED]).returncode == 0


CLOSED = """
import os, sys, concmem
concmem.measure(["/bin/true"])
os.closerange(3, 64)
mine = [os.memfd_create(f"mine {i}") for i in range(61)]
for fd in mine:
    os.write(fd, b"kept")
for _ in range(3):
    assert concmem.measure(["/bin/sh", "-c", "exit 3"]).exit.code == 3
assert all(os.pread(fd, 9, 0) == b"kept" for fd in mine)
"""


def test_a_host_that_closes_everything() -> None:
    """If a host closes all descriptors and opens its own files, these are not read, written or closed."""
    assert subprocess.run([sys.executable, "-c", CLOSED]).returncode == 0


SIGCHLD_IGNORED = """
import json, signal, concmem
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ms = [concmem.measure(f"sleep 0.05; exit {code}") for code in (0, 7, 255)]
killed = concmem.measure("kill -TERM $$")
print(json.dumps([*(m.exit.code for m in ms), killed.exit.signal, ms[0].peak.bytes]))
"""


def test_host_that_ignores_sigchld(host_python: Callable[..., Any]) -> None:
    """If the kernel reaps the host's children itself, the result is the same."""
    *ends, peak_bytes = host_python(SIGCHLD_IGNORED)
    assert ends == [0, 7, 255, signal.SIGTERM]
    assert 0 < peak_bytes < 4 * MIB


WAITS_FOR_ANY = """
import json, os, threading, concmem
done = threading.Event()
taken = []
def reap():
    while not done.is_set():
        try:
            taken.append(os.waitpid(-1, 0))
        except ChildProcessError:
            done.wait(0.001)
thread = threading.Thread(target=reap)
thread.start()
codes = [concmem.measure(f"sleep 0.02; exit {code}").exit.code for code in range(30)]
done.set()
thread.join()
print(json.dumps([codes, len(taken)]))
"""


def test_host_that_waits_for_any_child(host_python: Callable[..., Any]) -> None:
    """A thread of the host that reaps every child, including the sampler, does not change the result."""
    codes, taken = host_python(WAITS_FOR_ANY)
    assert codes == list(range(30))
    assert taken > 0


def test_inside_asyncio() -> None:
    """In a thread of asyncio, beside asyncio's own children, the loop keeps running and all results are right."""

    async def main() -> tuple[list[int | None], int, int | None]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "sleep 0.2; exit 9")
        measured = await asyncio.gather(
            *(asyncio.to_thread(concmem.measure, f"sleep 0.4; exit {code}") for code in range(4))
        )
        code = await child.wait()
        ticking.cancel()
        return [m.exit.code for m in measured], ticks, code

    codes, ticks, child_code = asyncio.run(main())
    assert codes == [0, 1, 2, 3]
    assert child_code == 9
    assert ticks >= 2


def test_waiting_on_the_descriptor() -> None:
    """`Running.fileno` works with an event loop: it becomes readable at the end, not before."""

    async def main() -> tuple[float, int | None]:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        started_s = loop.time()
        running = concmem.start(["/bin/sh", "-c", "sleep 0.4; exit 3"])
        loop.add_reader(running.fileno(), lambda: over.done() or over.set_result(loop.time() - started_s))
        waited_s = await over
        loop.remove_reader(running.fileno())
        return waited_s, running.wait().exit.code

    waited_s, code = asyncio.run(main())
    assert code == 3
    assert 0.4 <= waited_s < 120


def test_signal_handlers_are_unchanged() -> None:
    """Handlers and masks of the host are the same before and after."""

    def settings() -> tuple[Any, ...]:
        handlers = tuple(signal.getsignal(number) for number in sorted(signal.valid_signals()))
        return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, []), Path("/proc/self/timerslack_ns").read_text()

    before = settings()
    concmem.measure(["/bin/true"])
    assert settings() == before


def test_many_threads_wait_for_one_running() -> None:
    """Any number of threads may wait for one `Running`: each gets the same measurement."""
    running = concmem.start(["sleep", "0.2"])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: running.wait(), range(8)))
    assert all(result is results[0] for result in results)
    assert running.root_pid == results[0].processes[0].pid


def test_a_forked_copy_kills_nothing() -> None:
    """A forked child that leaves the context manager does not kill the tree."""
    script = """
import os, concmem
with concmem.start(["sleep", "0.5"]) as running:
    if os.fork() == 0:
        raise SystemExit(0)
    os.wait()
    print(running.wait().exit)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "exit code 0\n", done.stderr
