from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from c_programs import compile_c

import concmem
from concmem._cgroup import find
from concmem._files.paths import SAMPLER
from concmem.model import Figure, Measurement
from concmem.study import Entry, Plan, Run, Study
from concmem.study.running import machine_lock, other_work

pytest_plugins = ["suite"]

# The tests may run with ignored signals (nohup, "&" in a script), which every target would inherit.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

SETTLE_S = 120.0
"""How long a test waits on a busy machine until processes have ended."""


@attrs.frozen
class Marked:
    """An environment with a mark that all processes started with it inherit, whatever their session or parents."""

    mark: str

    @property
    def env(self) -> dict[str, str]:
        """This process's environment and the mark."""
        return {**os.environ, "CONCMEM_TEST_MARK": self.mark}

    def alive(self) -> dict[int, str]:
        """Return the processes with the mark that are not zombies: PID and command line."""
        found = {}
        closed = []  # samplers are not readable, even for their own user
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except PermissionError:
                closed.append(folder)
            except OSError:
                continue
        for folder in closed:
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                family = {int((folder / "stat").read_text().rpartition(")")[2].split()[1])}
                family |= {int(pid) for pid in (folder / f"task/{folder.name}/children").read_text().split()}
                if words.startswith(os.fspath(SAMPLER)) and family & {os.getpid(), *found}:
                    found[int(folder.name)] = words
        found.pop(os.getpid(), None)
        return found

    def wait_for(self, count: int) -> None:
        """Return when exactly `count` of them are alive; fail after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while len(alive := self.alive()) != count:
            assert time.monotonic() < deadline, f"{count} processes should be alive, these are: {alive}"
            time.sleep(0.01)


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Return a `Marked`. Processes that still have the mark after the test are killed."""
    marked = Marked(uuid.uuid4().hex)
    yield marked
    while left := marked.alive():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def own_children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture
def own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let studies of this test, and of the Pythons that it starts, see an idle machine without other studies."""
    name = f"\0concmem-test-{uuid.uuid4().hex}"
    monkeypatch.setattr(machine_lock, "_NAME", name)
    monkeypatch.setattr(other_work, "_PROC", Path("/nonexistent"))
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(
        f"from pathlib import Path\nfrom concmem.study.running import machine_lock, other_work\n"
        f"machine_lock._NAME = {name!r}\nother_work._PROC = Path('/nonexistent')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def others_may_measure(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    For tests that switch from root to the user "nobody": that user must be able to execute the sampler.

    If its folder is not accessible (a checkout in /root), the started Pythons use a copy of the sampler elsewhere.
    """
    if os.geteuid() != 0 or all(step.stat().st_mode & 0o001 for step in (SAMPLER, *SAMPLER.parents)):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = shutil.copy(SAMPLER, folder)
        change = f"from pathlib import Path\nfrom concmem._files import paths\npaths.SAMPLER = Path({copy!r})\n"
        Path(folder, "sitecustomize.py").write_text(change)
        monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        yield


@pytest.fixture
def own_mounts() -> list[str]:
    """Return the command prefix for a separate mount namespace. It fails in a chroot, where / is no mount point."""
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        tried = subprocess.run([*prefix, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, timeout=300)
    except FileNotFoundError:
        pytest.skip("unshare (of util-linux) is missing")
    if tried.returncode != 0:
        pytest.skip(f"a mount namespace cannot be made here: {tried.stderr.decode().strip()}")
    return prefix


@pytest.fixture
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without systemd, unless the test provides one, and without cached mounts of an earlier test."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    find.forget()
    yield
    find.forget()


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that builds a program of ``tests/c`` and returns its path."""

    def build(name: str) -> str:
        return str(compile_c(tmp_path / name, name))

    return build


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Check that the test leaves no new child, running or unreaped."""
    before = own_children()
    yield
    assert not own_children() - before


@pytest.fixture
def host_python(marked: Marked) -> Callable[..., Any]:
    """Return a function that runs a script in a separate Python and parses its last line as JSON."""

    def run(
        script: str, *args: object, timeout_s: float = 300, python: Sequence[str] = (sys.executable,), **kwargs: Any
    ) -> Any:
        done = subprocess.run(
            [*python, "-c", script, *(str(arg) for arg in args)],
            capture_output=True, text=True, timeout=timeout_s, env=marked.env, **kwargs,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def measured() -> Measurement:
    """A real measurement, the pattern of made-up ones."""
    return concmem.measure(["/bin/true"])


@pytest.fixture
def make_study(measured: Measurement, tmp_path: Path) -> Callable[..., Study]:
    """
    Return a function that makes up a study of these cells: for each the peaks of its runs in MiB, or a reason to skip.

    Everything else is the same in all studies of a test, except what is passed by name: changes of the plan, the host,
    each run, and each program's entry.
    """

    def make(
        name: str,
        cells: Mapping[tuple[str, int], Sequence[float] | str],
        *,
        plan: Mapping[str, Any] | None = None,
        host: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
        entry: Mapping[str, Any] | None = None,
        version: str = "0.1",
    ) -> Study:
        machine = attrs.evolve(measured.host, **(host or {}))
        programs = tuple(dict.fromkeys(program for program, _ in cells))
        runs = []
        for (program, tasks), peaks in cells.items():
            common = {"program": program, "tasks": tasks, "sleep_s": 10.0, **(run or {})}
            if isinstance(peaks, str):
                runs.append(Run(index=0, status="skipped", reason=peaks, **common))
                continue
            for index, mib in enumerate(peaks):
                made = attrs.evolve(
                    measured,
                    peak=Figure(int(mib * (1 << 20)), "bounded", "wait4 ru_maxrss", error_bytes=4096),
                    host=machine,
                    started_at=f"2020-01-01T00:00:{len(runs):02}+00:00 {name}",
                )
                runs.append(Run(index=index, status="ok", launch_s=0.25, measurement=made, **common))
        return Study(
            path=tmp_path / name,
            plan=Plan(
                **{
                    "programs": programs,
                    "tasks": [tasks for _, tasks in cells],
                    "runs": max((len(peaks) for peaks in cells.values() if not isinstance(peaks, str)), default=1),
                    "seed": 1,
                    **(plan or {}),
                }
            ),
            host=machine,
            programs=tuple(
                Entry(**{**_ENTRY, "name": program, "title": program.title(), **(entry or {})}) for program in programs
            ),
            runs=tuple(runs),
            started_at="2020-01-01T00:00:00+00:00",
            version=version,
        )

    return make


_ENTRY = {"language": "Own", "kind": "thread", "variant": "article", "begins_together": False, "toolchain": "own 1.0"}


_LANGUAGE = """\
name = "Own"

[[toolchain]]
name = "Python"
label = "Python {version}"
run = ["{this_python}", "-S", "{source}"]

[[toolchain.tool]]
name = "python"
look = ["{this_python}"]
ask = ["{python}", "-c", "import platform; print(platform.python_version())"]
answer = '(?P<version>.+)'
"""
_PROGRAM = """
[[program]]
name = "NAME"
title = "NAME"
kind = "KIND"
file = "program.py"
begins_together = TOGETHER
"""


@pytest.fixture
def write_programs(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes programs with one Python script, and returns the folder for ``--programs-dir``."""

    def write(script: str, *names: str, kind: str = "event loop", begins_together: bool = True) -> Path:
        folder = tmp_path / "programs" / "own"
        folder.mkdir(parents=True)
        entry = _PROGRAM.replace("KIND", kind).replace("TOGETHER", str(begins_together).lower())
        entries = "".join(entry.replace("NAME", name) for name in names)
        (folder / "language.toml").write_text(_LANGUAGE + entries)
        (folder / "program.py").write_text(script)
        return folder.parent

    return write
