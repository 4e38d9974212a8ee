from __future__ import annotations

import contextlib
import json
import os
import shlex
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

import concmem
from concmem._paths import SAMPLER
from concmem.model import Figure, Measurement
from concmem.study import Entry, Plan, Run, Study
from concmem.study.running import machine_lock, other_work

pytest_plugins = ["suite"]

# Whoever runs the tests may have had signals ignored (nohup, a script's "&"), which every target would inherit.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

SETTLE_S = 120.0
"""How long an end may take to become visible on a busy machine before a test calls it missing."""


@attrs.frozen
class Marked:
    """An environment that marks every process started with it, whatever it does to its session or parents."""

    mark: str

    @property
    def env(self) -> dict[str, str]:
        """This process's own environment and the mark."""
        return {**os.environ, "CONCMEM_TEST_MARK": self.mark}

    def alive(self) -> dict[int, str]:
        """The processes that carry the mark and are no zombies, by pid, each with its command line."""
        found = {}
        closed = []  # as samplers are to their own user
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
        """Return as soon as exactly `count` of them are alive; fail after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while len(alive := self.alive()) != count:
            assert time.monotonic() < deadline, f"{count} processes should be alive, these are: {alive}"
            time.sleep(0.01)


@pytest.fixture
def marked() -> Iterator[Marked]:
    """A `Marked`; whatever still carries the mark when the test is over is killed, so that it cannot harm the next."""
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
    """To this test's studies, and those of the Pythons that it starts, the machine is free and at rest, as none is."""
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
    For a test that, run by root, goes on as the user nobody: that user must be able to execute the sampler.

    Where its folder is closed to others (a checkout in /root), Pythons that are started use a copy that is not.
    """
    if os.geteuid() != 0 or all(step.stat().st_mode & 0o001 for step in (SAMPLER, *SAMPLER.parents)):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = shutil.copy(SAMPLER, folder)
        change = f"from pathlib import Path\nfrom concmem import _paths\n_paths.SAMPLER = Path({copy!r})\n"
        Path(folder, "sitecustomize.py").write_text(change)
        monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        yield


@pytest.fixture
def own_mounts() -> list[str]:
    """What gives a command a mount namespace of its own; not in a chroot, say, whose / is no mount point."""
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        tried = subprocess.run([*prefix, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, timeout=300)
    except FileNotFoundError:
        pytest.skip("unshare (of util-linux) is not there")
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace of one's own can be made here: {tried.stderr.decode().strip()}")
    return prefix


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], str]:
    """Build a program of ``tests/c`` by its name; gives its path."""

    def build(name: str) -> str:
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        source, program = Path(__file__).resolve().parent / "c" / f"{name}.c", tmp_path / name
        flags = ["-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pthread"]
        try:
            subprocess.run([*compiler, *flags, "-o", program, source], check=True)
        except FileNotFoundError:
            pytest.skip(f"there is no C compiler ({compiler[0]})")
        return str(program)

    return build


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """The test leaves no child, running or unreaped, that was not there before."""
    before = own_children()
    yield
    assert not own_children() - before


@pytest.fixture
def host_python(marked: Marked) -> Callable[..., Any]:
    """Run a script in a Python of its own, as a host that a test can make large, odd or dead; its last line is JSON."""

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
    """A true measurement, as the pattern of made-up ones."""
    return concmem.measure(["/bin/true"])


@pytest.fixture
def make_study(measured: Measurement, tmp_path: Path) -> Callable[..., Study]:
    """
    Make up a study, not stored, of these cells: for each the peaks of its runs in MiB, or why it was skipped.

    All else is as in any other of the same test, but for what is changed by name: of the plan, the host, each run,
    each program's entry.
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
    """Write programs that are all one Python script; gives the folder for ``--programs-dir``."""

    def write(script: str, *names: str, kind: str = "event loop", begins_together: bool = True) -> Path:
        folder = tmp_path / "programs" / "own"
        folder.mkdir(parents=True)
        entry = _PROGRAM.replace("KIND", kind).replace("TOGETHER", str(begins_together).lower())
        entries = "".join(entry.replace("NAME", name) for name in names)
        (folder / "language.toml").write_text(_LANGUAGE + entries)
        (folder / "program.py").write_text(script)
        return folder.parent

    return write
