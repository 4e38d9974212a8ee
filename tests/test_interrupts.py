"""
An exception of a signal handler at any moment of a measurement leaves no process, no zombie and no descriptor behind.

CONCMEM_TEST_INTERRUPTS is the number of random moments (2,000 in the long form), CONCMEM_TEST_SEED their seed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import concmem
from concmem._cgroup import groups as _cgroup
from concmem._files.paths import HERE
from concmem._native.resources import Resources

TIMES = int(os.environ.get("CONCMEM_TEST_INTERRUPTS", "300"))
IS_LONG = TIMES >= 2000
LIMIT_S = 120.0
"""Less than any command of these tests runs."""
SEED = int(os.environ.get("CONCMEM_TEST_SEED", "1"))

OF_THIS_THREAD = 0x60000000
"""__WALL and __WNOTHREAD of waitid(2): also children before their exec, and no children of other threads."""

pytestmark = pytest.mark.usefixtures("no_child_left")


class Interrupt(BaseException):
    """Raised by the signal handlers of these tests, as Python's own handler raises KeyboardInterrupt."""


class Gone:
    """The state before a test. After each interrupt, the same must exist and nothing else."""

    def __init__(self, marked: Any) -> None:
        self._marked = marked
        concmem.measure(["/bin/true"])  # so that cached objects exist
        gc.collect()
        self._files = self._open_files()

    @staticmethod
    def _open_files() -> list[str]:
        names = []
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the descriptor of the folder itself
                names.append(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        # The memory that was kept for reuse may have been released. No new memory must be kept.
        return sorted(name for name in names if "memfd:concmem" not in name)

    @staticmethod
    def _memories() -> int:
        return sum("memfd:concmem" in line for line in Path("/proc/self/maps").read_text().splitlines())

    @staticmethod
    def _children() -> list[str]:
        """Return PID, name, state and parent of each process from /proc/PID/stat."""
        found = []
        for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split():
            with contextlib.suppress(OSError):
                found.append(Path(f"/proc/{pid}/stat").read_text()[:40])
        return found

    @staticmethod
    def _has_child() -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | OF_THIS_THREAD)
        except ChildProcessError:
            return False
        return True

    def check(self, moment: object) -> None:
        """Check that no child of this thread, no file and no mapping is left."""
        children = self._children()
        # An exception and its frames can be a reference cycle. What they own is then released by the collector.
        until_s = time.monotonic() + LIMIT_S
        while (self._has_child() or self._open_files() != self._files) and time.monotonic() < until_s:
            gc.collect()
            time.sleep(0.01)
        if self._has_child() or self._open_files() != self._files:
            owners = [type(holder) for each in gc.get_objects() if isinstance(each, Resources)
                      for holder in gc.get_referrers(each)]  # fmt: skip
            pytest.fail(f"{moment}: children {children}, files {self._open_files()} were {self._files}; {owners}")
        assert self._memories() <= 2, moment

    def check_processes(self) -> None:
        """Check that no process of a tree is left. It is separate because it reads every process of the machine."""
        assert self._marked.alive() == {}


@pytest.fixture
def gone(marked: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gone]:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python prints exceptions raised in `__del__`
    gone = Gone(marked)
    yield gone
    gone.check("at the end")
    gone.check_processes()


@contextlib.contextmanager
def on_alarm(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def life(**options: Any) -> None:
    """Start, stop and wait. A lost process would run for ten minutes."""
    running = concmem.start(["/bin/sleep", "600"], **options)
    running.stop()
    running.wait()


def block(**options: Any) -> None:
    """The same with a context manager."""
    with concmem.start("sleep 600 & sleep 600", **options) as running:
        running.alive()


def talk(**options: Any) -> None:
    """Use everything that a command with pipes has."""
    with concmem.start(["/bin/cat"], **options) as running:
        running.fileno()
        assert running.stdin is not None and running.stdout is not None
        running.stdin.write(b"a\n")
        running.stdin.flush()
        running.stdout.readline()
        with contextlib.suppress(concmem.TimeoutExpired):
            running.wait(timeout=0.001)
        running.send_signal(signal.SIGCONT)
        running.root_fd  # noqa: B018
        running.communicate(b"b")


def missing(**options: Any) -> None:
    """Measure a command that cannot be started."""
    with contextlib.suppress(concmem.CommandNotFound):
        concmem.measure(["/nonexistent"], **options)


PIPES = {"stdout": concmem.PIPE, "stderr": concmem.PIPE, "stdin": concmem.PIPE}
GROUPS = {"cgroup": True, "exact": IS_LONG}  # the kernel needs 75 ms to unload the program of `exact`


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("options", [{}, PIPES], ids=["inherited", "pipes"])
def test_at_random_moments(options: dict[str, Any], times: int, gone: Gone, marked: Any) -> None:
    """Interrupts come 10 us to 50 ms after the call, half of them early; up to three in a row, also in the clean-up."""
    moments = random.Random(SEED)
    left = interrupted = 0
    begun = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal left
        if not in_the_package(frame):
            signal.setitimer(signal.ITIMER_REAL, 2e-5 if begun else 0)  # not in the package yet, or not any more
            return
        left -= 1
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(5e-6, 5e-4))
        raise Interrupt

    with on_alarm(interrupt):
        for index in range(TIMES // 4):
            left = times
            moment_s = 1e-5 * 5000 ** moments.random() if index % 2 else moments.uniform(1e-5, 0.05)
            begun = True
            try:
                signal.setitimer(signal.ITIMER_REAL, moment_s)
                concmem.measure(["/bin/sleep", "600"], env=marked.env, **options)
            except Interrupt:
                interrupted += 1
            begun = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            gone.check(moment_s)
            if index % 16 == 0:
                gone.check_processes()
    assert interrupted == TIMES // 4


def in_the_package(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith(f"{HERE}/"):
        frame = frame.f_back
    return frame is not None


class Injected:
    """
    Raise at the nth executed line of the package, and again `again` lines later.

    Python removes a trace function that raises. A profile function is not removed, and sets it again.
    """

    def __init__(self, first: int, again: int | None = None) -> None:
        self._left = first
        self._again = again
        self.lines: list[str] = []

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(f"{HERE}/"):
            return None
        if event == "line":
            self._left -= 1
            if self._left < 0:
                self.lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                if self._again is None:
                    sys.setprofile(None)
                else:
                    self._left, self._again = self._again, None
                raise Interrupt
        return self._trace

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if self.lines and sys.gettrace() is None:
            sys.settrace(self._trace)

    def __enter__(self) -> Injected:
        if self._again is not None:
            sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        sys.settrace(None)


def inject(act: Callable[..., None], options: dict[str, Any], first: int, again: int | None = None) -> list[str]:
    """Return the lines at which it was raised; fewer than requested if fewer lines are executed."""
    injected = Injected(first, again)
    with contextlib.suppress(Interrupt), injected:
        act(**options)
    return injected.lines


@pytest.mark.parametrize(
    ("act", "options"),
    [(life, {}), (life, PIPES), (life, GROUPS), (block, {}), (missing, PIPES), (talk, PIPES)],
    ids=["life", "pipes", "groups", "block", "missing", "talk"],
)
def test_at_every_line(act: Callable[..., None], options: dict[str, Any], gone: Gone, marked: Any) -> None:
    """Interrupt each line of start, `wait` and clean-up; then, for a sample, a second line after a first one."""
    options = {**options, "env": marked.env}
    act(**options)
    places: set[str] = set()
    count = 0
    while lines := inject(act, options, count):
        places.update(lines)
        gone.check(lines)
        if count % 16 == 0:
            gone.check_processes()
        count += 1
    assert {Path(place.rpartition(":")[0]).name for place in places} >= {
        "handle.py", "launched.py", "launch.py", "redirect.py", "pipes.py", "shared_memory.py", "resources.py"
    }  # fmt: skip
    gone.check_processes()
    moments = random.Random(SEED)
    twice = 0
    for _ in range(TIMES // 10):
        lines = inject(act, options, moments.randrange(count), moments.randrange(12))
        gone.check(lines)
        twice += len(lines) == 2
    assert twice > 0
    assert groups_left() == []


def groups_left() -> list[str]:
    """Return groups of this process that the next measurement would not remove."""
    _cgroup.make_groups(memory=True, selector=True).close()
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup" in line]
    return [
        f"{folder}/{name}"
        for mount in mounts
        for folder, names, _ in os.walk(mount[4])
        for name in names
        if name.startswith(f"concmem-{os.getpid()}-")
    ]


ABANDONED = """
import json, os, concmem
running = concmem.start('sleep 600 & sleep 600')
pid = running.root_pid
files = len(os.listdir('/proc/self/fd'))
del running
print(json.dumps([os.path.exists(f'/proc/{pid}'), files - len(os.listdir('/proc/self/fd'))]))
"""


@pytest.mark.parametrize("warnings", ["error", "default"])
def test_a_tree_without_wait_ends(warnings: str, host_python: Any, marked: Any) -> None:
    """The tree is killed first. Then comes the warning, which can be an error."""
    there, closed = host_python(ABANDONED, python=[sys.executable, f"-W{warnings}"])
    assert not there
    assert closed == 3  # the pidfd, the memory, its eventfd
    marked.wait_for(0)


def test_a_late_stop_kills_no_other_tree() -> None:
    """`stop` of an ended measurement does nothing, even if its descriptors are reused by others."""
    ended: list[concmem.Running] = []
    over = threading.Event()

    def stop_all() -> None:
        while not over.is_set():
            over.wait(0.001)
            for running in ended[-20:]:
                running.stop()

    stoppers = [threading.Thread(target=stop_all) for _ in range(3)]
    for stopper in stoppers:
        stopper.start()
    try:
        for _ in range(100):
            running = concmem.start(["/bin/sleep", "0.002"])
            assert running.wait().exit.ok
            ended.append(running)
    finally:
        over.set()
        for stopper in stoppers:
            stopper.join()


CLOSES_ALL = """
import fcntl, json, os, sys, time, concmem
running = concmem.start(['/bin/sleep', '0.1'], stdout=concmem.PIPE)
time.sleep(0.5)
taken = [n for n in map(int, os.listdir('/proc/self/fd')) if n > 2 and os.path.exists(f'/proc/self/fd/{n}')]
read_end = fcntl.fcntl(os.pipe()[0], fcntl.F_DUPFD, 100)
for number in taken:
    os.dup2(read_end, number)
if sys.argv[1] == "released":
    running._resources.release()
del running
concmem.measure(['/bin/true'])
pipe = os.readlink(f'/proc/self/fd/{read_end}')
print(json.dumps([os.path.exists(f'/proc/self/fd/{n}') and os.readlink(f'/proc/self/fd/{n}') == pipe for n in taken]))
"""


@pytest.mark.parametrize("end", ["released", "dropped"])
def test_reused_descriptors_are_not_closed(end: str, host_python: Any) -> None:
    """If a host closes all descriptors and opens its own files, these stay open."""
    kept = host_python(CLOSES_ALL, end)
    assert len(kept) >= 4 and all(kept)


TRUNCATE = """
import json, os, sys
found = []
for pid in (int(sys.argv[1]), os.getppid()):
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        found.append("closed")
        continue
    for number in numbers:
        path = f"/proc/{pid}/fd/{number}"
        if "memfd:concmem" not in os.readlink(path):
            continue
        fd = os.open(path, os.O_RDWR)
        for size in (0, 1 << 40):
            try:
                os.ftruncate(fd, size)
                found.append("done")
            except PermissionError:
                found.append("refused")
print(json.dumps(found))
"""


def test_the_memory_cannot_be_resized() -> None:
    """A target of the same user can open it through /proc, but cannot truncate it and cause a SIGBUS in the host."""
    m = concmem.measure([sys.executable, "-c", TRUNCATE, str(os.getpid())], stdout=concmem.PIPE)
    assert m.exit.ok
    found = json.loads(m.stdout or b"")
    assert len(found) >= 2 and set(found) <= {"refused", "closed"} and "refused" in found


CURIOUS = """
held=$(yes | head -c 30000000)
sleep 0.3
ls /proc/$PPID/fd >/dev/null 2>&1 && echo fd
for name in environ mem auxv; do cat /proc/$PPID/$name >/dev/null 2>&1 && echo $name; done
true $held 2>/dev/null
"""
AS_A_USER = """
import json, os, sys, concmem
concmem.measure(["/bin/true"])  # so that all modules are imported: another user may not be able to read them
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
m = concmem.measure(sys.argv[1], stdout=concmem.PIPE, windows=True)
print(json.dumps([
    m.exit.code, m.stdout.decode(), m.peak.status, m.peak.bytes, m.tree_peak_pss.bytes, m.sampler.rss_bytes,
    m.sampler.refused_readings, m.sampler.missing,
]))
"""


def test_the_target_cannot_trace_the_sampler(others_may_measure: None, host_python: Any) -> None:
    """An ordinary user's target can neither trace nor read the sampler, which still reads target and itself."""
    code, opened, status, peak_bytes, pss_bytes, own_bytes, refused, missing = host_python(AS_A_USER, CURIOUS)
    assert (code, opened, refused, missing) == (0, "", 0, {})
    assert status in ("bounded", "sampled") and peak_bytes >= 30_000_000
    assert pss_bytes >= 30_000_000 and own_bytes > 0
