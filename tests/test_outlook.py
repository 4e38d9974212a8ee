"""The estimate that a study prints before it begins."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.programs import Missing, Program, Toolchain
from concmem.study import Plan, bench, look_ahead
from concmem.study.limits.kinds import Limit
from concmem.study.running import outlook
from concmem.study.running.outlook import Outlook

PROGRAMS = ("go", "python", "rust-threads")
GIB = 1 << 30
SLEEPER = "import sys, time\nprint('started', sys.argv[1])\ntime.sleep(float(sys.argv[2]))\nprint('done', sys.argv[1])"
LIMIT_S = 120


class Machine:
    """A machine with 16 GiB free and no limit on threads; its programs are built, missing or not built yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
        self.free_bytes = 16 * GIB
        self.limits: list[Limit] = []
        self.unbuilt: set[str] = set()
        self.missing: set[str] = set()
        self.out = out
        monkeypatch.setattr(outlook, "available_bytes", lambda: self.free_bytes + GIB)
        monkeypatch.setattr(outlook, "margin_bytes", lambda: GIB)
        monkeypatch.setattr(outlook, "limits_here", self._limits)
        monkeypatch.setattr(drivers, "detect", self._detect)
        monkeypatch.setattr(drivers, "is_built", lambda program, toolchain, workload: program.name not in self.unbuilt)
        monkeypatch.setattr(toolchains, "plan", self._install)

    def _limits(self, programs: list[Program], of_others: int) -> list[Limit]:
        return self.limits if programs[0].kind == "thread" else []

    def _detect(self, program: Program) -> Toolchain | Missing:
        if program.name in self.missing:
            return Missing(program.language, "it is not there", "")
        return Toolchain(program.language, "own", "1", "/own", "own 1")

    def _install(self, programs: list[Program], fetch_lists: bool) -> toolchains.Plan:
        assert not fetch_lists
        absent = [program for program in programs if program.name in self.missing]
        here = {program.language: "PyPI: own" for program in absent}
        names = frozenset(program.name for program in absent)
        return toolchains.Plan(here, names, {}, "", 10_000_000, 200_000_000, 15.0 if absent else 0.0)

    def outlook(self, *, install: bool = False, **options: object) -> Outlook:
        """Return the estimate for a plan with the three programs."""
        plan = Plan(**{"programs": PROGRAMS, "tasks": (1, 1_000_000), "seed": 1, **options})  # type: ignore[arg-type]
        seen = look_ahead(plan, self.out, install=install)
        assert seen is not None
        return seen


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "study")


def test_runs_sizes_and_sleeps_add_up(machine: Machine) -> None:
    """Each run sleeps; more runs and more tasks take longer."""
    result = machine.outlook(runs=2)
    assert result.runs == 12 and 120 < result.seconds < 360
    assert machine.outlook(runs=4).seconds == pytest.approx(2 * result.seconds)
    assert machine.outlook(runs=2, tasks=(1, 10)).seconds < result.seconds
    assert machine.outlook(runs=2, sleep_s=1).seconds == pytest.approx(result.seconds - 12 * 9)


def test_the_search_for_the_largest_number_is_included(machine: Machine) -> None:
    """A run that cannot have its threads ends early; then come one guess and the runs of the largest number."""
    free = machine.outlook(programs=("rust-threads",), tasks=(100_000,))
    machine.limits = [Limit("kernel.pid_max", 30_000, None, 30_000)]
    met = machine.outlook(programs=("rust-threads",), tasks=(100_000,))
    assert free.seconds == pytest.approx(10 + 0.5 + 7)
    assert met.seconds == pytest.approx(2 * (0.5 + 2.1) + 10.5 + 2.1)
    assert met.memory_bytes < free.memory_bytes


def test_repeats_with_a_longer_sleep_are_included(machine: Machine) -> None:
    """100,000 Java threads take longer to launch than any sleep, so all repeats count."""
    few, many = (machine.outlook(programs=("java-threads",), tasks=(tasks,)) for tasks in (1_000, 100_000))
    assert few.seconds < 12
    assert many.seconds == pytest.approx(10 + 20 + 40 + 60)
    # The first run with 31,000 finds out that 40 s are enough, the second sleeps so long at once.
    one, two = (machine.outlook(programs=("java-threads",), tasks=(31_000,), runs=runs) for runs in (1, 2))
    assert one.seconds > 10 + 20 + 40 + 10
    assert two.seconds - one.seconds == pytest.approx(one.seconds - 30)
    limited = Limit("kernel.pid_max", 31_000, None, 31_000)
    machine.limits = [limited]
    assert machine.outlook(programs=("java-threads",), tasks=(100_000,)).seconds == pytest.approx(
        2 * (one.seconds - 40) + one.seconds
    )


def test_memory_is_that_of_the_largest_run_that_fits(machine: Machine) -> None:
    """A run that does not fit is not tried, and takes no time."""
    result = machine.outlook(programs=("go", "python"))
    assert result.free_bytes == 16 * GIB and 2.5 * GIB < result.memory_bytes < 3 * GIB  # Go
    machine.free_bytes = 2 * GIB
    less = machine.outlook(programs=("go", "python"))
    assert GIB < less.memory_bytes < 2 * GIB and less.seconds < result.seconds - 10
    machine.free_bytes = -2 * GIB
    assert machine.outlook().free_bytes == 0


def test_building_counts_only_without_a_cached_build(machine: Machine) -> None:
    """A cached build costs nothing; other builds are part of time and disk space, and the text says so."""
    later = machine.outlook()
    machine.unbuilt = {"go", "rust-threads"}
    first = machine.outlook()
    assert (first.to_build, later.to_build) == (("rust-threads", "go"), ())
    assert first.seconds - later.seconds == pytest.approx(first.first_s) and first.first_s > 1
    assert first.disk_bytes - later.disk_bytes == first.first_bytes > 1 << 20
    assert "; time and disk space include building 2 programs: about " in str(first) and "the first time only" in str(
        first
    )
    assert "building" not in str(later)


def test_installing_counts_only_if_it_is_allowed(machine: Machine) -> None:
    """A program whose toolchain will be installed is built and run; otherwise it is not included, and named."""
    machine.missing = {"go"}
    without, with_it = machine.outlook(), machine.outlook(install=True)
    assert (without.runs, without.missing, without.to_install) == (4, ("go",), ())
    assert str(without).endswith("; not included, because their toolchains are missing: go")
    assert (with_it.runs, with_it.missing, with_it.to_install, with_it.to_build) == (6, (), ("Go",), ("go",))
    assert with_it.first_s > 15 and with_it.first_bytes > 200_000_000
    assert "include installing toolchains of Go and building 1 program: about " in str(with_it)


def test_a_resumed_study_counts_the_runs_that_are_left(
    own_machine: None, write_programs: Callable[..., Path], tmp_path: Path
) -> None:
    """Each takes as long as its stored runs, repeats included; for a complete study there is no estimate."""
    folder = write_programs(SLEEPER + "\ntime.sleep(2)", "one", begins_together=False)
    plan = Plan(programs=("one",), programs_dirs=(str(folder),), tasks=(1, 2), sleep_s=0.5, seed=1)
    out = tmp_path / "study"
    all_of_it = look_ahead(plan, out)
    assert all_of_it is not None and all_of_it.runs == 2 and not out.exists()
    bench(plan, out)
    assert look_ahead(plan, out, resume=True) is None
    (out / "runs" / "one-2-0.json").unlink()
    left = look_ahead(plan, out, resume=True)
    assert left is not None and left.runs == 1 and left.seconds < all_of_it.seconds
    with pytest.raises(ValueError, match="not empty"):
        look_ahead(plan, out)
    # A second run of a stored size takes as long as the first one.
    header = out / "study.json"
    header.write_text(header.read_text().replace('"runs": 1,', '"runs": 2,', 1))
    known = look_ahead(attrs.evolve(plan, runs=2, tasks=(1, 2)), out, resume=True)
    assert known is not None and known.runs == 3 and known.seconds > 2 * 2.5


LANGUAGE = """
name = "{title}"
hand = "ask a friend"

[[toolchain]]
name = "{title}"
label = "{title} {{version}}"
run = ["{{this_python}}", "-S", "{{source}}"]

[[toolchain.tool]]
name = "tool"
look = ["{{packages}}/node_modules/{name}/tool"]
ask = ["{{tool}}"]
answer = '(?P<version>[0-9.]+)'

[[install]]
npm = ["{name}-package"]
download = "3MB"
disk = "7MB"

[[program]]
name = "{name}"
title = "{title}"
kind = "event loop"
variant = "{variant}"
file = "program.py"
begins_together = true
"""


class Bare:
    """A system without the toolchains of invented languages, and with an npm that installs them."""

    def __init__(self, tmp_path: Path, programs: Path) -> None:
        self.programs = programs
        self.folder = tmp_path
        npm = tmp_path / "bin" / "npm"
        npm.parent.mkdir()
        npm.write_text(
            '#!/bin/sh\nfor package do :; done\ncd "$3" && mkdir -p node_modules/${package%-package}\n'
            'cd node_modules/${package%-package} && printf "#!/bin/sh\\necho 1.0\\n" > tool && chmod +x tool\n'
        )
        npm.chmod(0o755)
        self.env = {
            **os.environ, "PATH": f"{npm.parent}:/usr/bin:/bin", "CONCMEM_CACHE": str(tmp_path / "cache"),
        }  # fmt: skip

    def add(self, name: str, title: str, variant: str) -> None:
        """Add a language with one program."""
        folder = self.programs / name
        folder.mkdir(parents=True)
        (folder / "language.toml").write_text(LANGUAGE.format(name=name, title=title, variant=variant))
        (folder / "program.py").write_text(SLEEPER)

    def bench(self, answer: bytes, *options: str) -> tuple[int, list[str]]:
        """Run `concmem bench` on a terminal, answer its question with these keys; return exit status and lines."""
        argv = [sys.executable, "-m", "concmem", "bench", "--programs-dir", str(self.programs), "--out", "study"]
        argv += ["--tasks", "1", "--sleep", "0.1", "--install-toolchains", "ask", *options]
        main, terminal = pty.openpty()

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        with subprocess.Popen(
            argv, cwd=self.folder, env=self.env, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True, preexec_fn=own_terminal,
        ) as process:  # fmt: skip
            os.close(terminal)
            message, asked = b"", False
            while True:
                # A Ctrl-D that comes while the command changes the mode of the terminal is lost: send it again.
                if not select.select([main], [], [], 5)[0]:
                    if asked:
                        with contextlib.suppress(OSError):
                            os.write(main, answer)
                    continue
                try:
                    message += os.read(main, 65536)
                except OSError:  # all of its other end is closed
                    break
                if not asked and b"Install? " in message:
                    asked = True
                    os.write(main, answer)
            os.close(main)
            status = process.wait(LIMIT_S)
        assert asked, message
        return status, message.decode().replace("\r\n", "\n").splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path, tmp_path / "programs")


ENOUGH = "1 run to make: about "


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (b"y\n", 0, "npm install "),
        (b"\n", 0, "npm install "),
        (b"n\n", 3, "Nothing was installed."),
        (b"\x04", 1, "concmem: no answer: nothing was installed"),
        (b"\x03", 130, "concmem: interrupted"),
    ],
    ids=["y", "return", "n", "ctrl-d", "ctrl-c"],
)
def test_the_question_on_a_terminal(bare: Bare, answer: bytes, status: int, message: str) -> None:
    """First the estimate, then the toolchains to install, then the question; only yes installs."""
    bare.add("made-up", "Made Up", "article")
    code, lines = bare.bench(answer, "--programs", "made-up")
    assert code == status, lines
    # The terminal wraps lines.
    assert lines[0].startswith(ENOUGH) and "installing toolchains of Made Up" in " ".join(lines[:3]), lines
    listed = lines.index("Toolchains that will be installed:")
    assert lines[listed + 1] == "  Made Up: npm: made-up-package"
    asked = next(i for i, line in enumerate(lines) if line.startswith("Install? [Y/n]: "))
    assert listed < asked
    assert any(line.startswith(message) for line in lines[asked:]), lines
    assert (bare.folder / "cache/packages/made-up").exists() == (status == 0)
    assert (bare.folder / "study").exists() == (status in (0, 3))


def test_all_programs_get_all_their_packages(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--programs all` names every package, even if languages share a title; without it only the article's."""
    bare.add("one", "One", "article")
    bare.add("two", "Two", "idiomatic")
    bare.add("three", "Two", "library")
    monkeypatch.setenv("PATH", bare.env["PATH"])
    monkeypatch.setenv("CONCMEM_CACHE", bare.env["CONCMEM_CACHE"])
    monkeypatch.setattr(drivers, "PROGRAMS", bare.programs.resolve())
    drivers.forget()
    result = drivers.load_programs()
    assert toolchains.plan(drivers.choose(result).values()).here == {"One": "npm: one-package"}
    plan = toolchains.plan(drivers.choose(result, ["all"]).values())
    assert plan.here.keys() == {"One", "Two"} and plan.here["One"] == "npm: one-package"
    assert set(plan.here["Two"].split()) == {"npm:", "two-package", "three-package"}
    assert plan.programs == {"one", "two", "three"} and plan.disk_bytes == 3 * 7_000_000
    every = look_ahead(Plan(programs=("all",), tasks=(1,)), bare.folder / "study", install=True)
    assert every is not None and every.runs == 3 and every.to_install in (("One", "Two"), ("Two", "One"))
    assert toolchains.install_for(drivers.choose(result, ["all"]).values(), lambda line: None) == {}
    drivers.forget()


def test_the_sizes_of_debian_packages_are_estimated_without_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apt's lists the sizes come from the manifest; no list is fetched for this."""
    from concmem.drivers import apt as _apt
    from concmem.drivers import install as _install

    monkeypatch.setattr(_apt, "has_lists", lambda: False)
    monkeypatch.setattr(_apt, "has_apt", lambda: True)
    monkeypatch.setattr(_apt, "installed", lambda name: False)
    monkeypatch.setattr(_install.os, "geteuid", lambda: 0)
    monkeypatch.setattr(toolchains, "_satisfied", lambda programs: False)
    _apt.forget()
    planned = toolchains.plan([drivers.load_programs()["elixir"]], fetch_lists=False)
    _apt.forget()
    assert planned.here == {"Elixir": "Debian: elixir"} and not planned.lists_fetched
    assert (planned.download_bytes, planned.disk_bytes) == (23_000_000, 42_000_000)
