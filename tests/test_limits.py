"""Limits on threads: found, lifted, put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

import concmem
from concmem.facts import Host
from concmem.study import Plan, StudyError, bench, largest_rows
from concmem.study.largest import Sought, guesses, sought
from concmem.study.lift import lifted, restore
from concmem.study.limits import KERNEL_BYTES_EACH, Limit, limits_here, memory_limit, obstacles
from concmem.study.records import Run
from concmem.testing import known

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change limits of the machine")
HOLD = """
import sys, time
from pathlib import Path
from concmem.study.lift import lifted
from concmem.study.limits import Limit
limit = Limit("kernel.pid_max", int(Path(sys.argv[1]).read_text()), Path(sys.argv[1]), 1 << 22)
with lifted(lambda: [limit], 100_000, Path(sys.argv[2])):
    print("lifted", flush=True)
    time.sleep(60)
"""


def host() -> Host:
    return concmem.measure(["/bin/true"]).host


def machine(root: Path, **values: object) -> Path:
    """A folder that stands for the root of a machine with these limits."""
    files = {
        "proc/sys/kernel/pid_max": 32768,
        "proc/sys/kernel/threads-max": 190_000,
        "proc/sys/vm/max_map_count": 65530,
        "proc/self/mounts": f"cgroup2 {root}/groups cgroup2 rw 0 0\n",
        "proc/self/cgroup": "0::/a/b\n",
        "groups/pids.current": 9,
        "groups/a/pids.max": "max",
        "groups/a/b/pids.max": 5000,
        "groups/a/b/pids.current": 1000,
    }
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{values.get(path.name, value)}\n")
    return root


def test_every_limit_is_found_with_its_room(tmp_path: Path) -> None:
    """Those of the kernel less what others take, mappings by how many a thread takes, and the groups around."""
    found = limits_here(host(), 4, str(machine(tmp_path)), threads_of_others=68)
    rooms = {limit.name: limit.room for limit in found if limit.name != "RLIMIT_NPROC"}
    assert rooms == {
        "kernel.pid_max": 32_700,
        "kernel.threads-max": 189_932,
        "vm.max_map_count": 16_382,
        f"pids.max of {tmp_path}/groups/a/b": 4000,
    }


def test_obstacles_come_narrowest_first_with_the_command_that_lifts_them(tmp_path: Path) -> None:
    """At 100,000 threads three stand in the way; at 1,000 none; what cannot be set so high has no command."""
    found = limits_here(host(), 4, str(machine(tmp_path)), threads_of_others=68)
    found = [limit for limit in found if limit.name != "RLIMIT_NPROC"]
    assert obstacles(found, 1000) == []
    group = tmp_path / "groups/a/b/pids.max"
    assert [obstacle.lift for obstacle in obstacles(found, 100_000)] == [
        f"echo 103048 | sudo tee {group}",
        "sudo sysctl -w vm.max_map_count=402048",
        "sudo sysctl -w kernel.pid_max=102116",
    ]
    (most,) = [obstacle for obstacle in obstacles(found, 5_000_000) if obstacle.name == "kernel.pid_max"]
    assert (most.lift, most.needed) == ("", 5_002_116)


def test_memory_is_a_limit_that_nothing_lifts() -> None:
    """A million threads of 8 KiB need 34 GiB with what the kernel keeps for them; 20 GiB hold half a million."""
    limit = memory_limit(8 << 10, 20 << 30)
    assert limit.room == (20 << 30) // ((8 << 10) + KERNEL_BYTES_EACH)
    (obstacle,) = obstacles([limit], 1_000_000)
    assert (obstacle.name, obstacle.lift) == ("memory", "")
    assert str(obstacle) == "34.3 GiB of memory are needed, 20.0 GiB are free"
    assert obstacles([limit], 500_000) == []


def test_what_the_kernel_keeps_for_a_thread_is_about_what_is_stated() -> None:
    """By the charge of their own control group, 2,000 threads take no more than is stated each, and not much less."""
    m = concmem.measure(known("hold", 0, 2000, 1), stdout=subprocess.DEVNULL, cgroup=True)
    if "kernel" not in m.cgroup_parts:
        pytest.skip(f"what the kernel keeps for a group cannot be read here: {m.cgroup_peak.note}")
    assert 0.8 * KERNEL_BYTES_EACH <= m.cgroup_parts["kernel"] / 2000 <= 1.1 * KERNEL_BYTES_EACH


@needs_root
def test_limits_are_lifted_and_put_back(tmp_path: Path) -> None:
    """Within the block they are as high as needed; after it, and after an exception, as they were."""
    file = tmp_path / "pid_max"
    file.write_text("32768\n")

    def find() -> list[Limit]:
        return [Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)]

    with pytest.raises(KeyboardInterrupt), lifted(find, 100_000, tmp_path / "notes") as changes:
        assert (file.read_text(), len(changes)) == ("102048\n", 1)
        with pytest.raises(StudyError, match="another study has lifted"), lifted(find, 200_000, tmp_path / "notes"):
            pass
        assert restore(tmp_path / "notes") == [], "whoever lifted them lives"
        raise KeyboardInterrupt
    assert file.read_text() == "32768\n"
    with lifted(find, 1000, tmp_path / "notes") as changes:
        assert (file.read_text(), changes) == ("32768\n", [])


@needs_root
@pytest.mark.parametrize("meddled", [False, True])
def test_a_killed_study_s_limits_are_put_back_later(tmp_path: Path, meddled: bool) -> None:
    """SIGKILL leaves them raised; the next who looks puts them back, but not what somebody else has set since."""
    file, notes = tmp_path / "pid_max", tmp_path / "notes"
    file.write_text("32768\n")
    with subprocess.Popen([sys.executable, "-c", HOLD, file, notes], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "lifted\n"
        child.send_signal(signal.SIGKILL)
    assert file.read_text() == "102048\n"
    if meddled:
        file.write_text("77777\n")
    put_back = restore(notes)
    assert [(change.before, change.raised) for change in put_back] == ([] if meddled else [(32768, 102048)])
    assert file.read_text() == ("77777\n" if meddled else "32768\n")
    assert restore(notes) == []


@needs_root
def test_the_machine_s_own_limit_is_lifted_and_put_back(tmp_path: Path) -> None:
    """The real vm.max_map_count, for a moment."""
    file = Path("/proc/sys/vm/max_map_count")
    before = file.read_text()
    try:
        file.write_text(before)
    except OSError as error:
        pytest.skip(f"{file} cannot be written here: {error.strerror}")

    def find() -> list[Limit]:
        return [limit for limit in limits_here(host(), 4) if limit.name == "vm.max_map_count"]

    tasks = int(before) // 4 + 1000
    with lifted(find, tasks, tmp_path / "notes"):
        assert int(file.read_text()) >= 4 * tasks
        assert host().limits["max_map_count"] == int(file.read_text()), "figures name the limits of their time"
    assert file.read_text() == before


def test_guesses_go_down_from_what_was_alive() -> None:
    """Two significant digits, at most five, never what has run already."""
    assert list(guesses(Sought("x", 100_000, 32_443, 10_000))) == [31_000, 27_000, 24_000, 21_000, 18_000]
    assert list(guesses(Sought("x", 100_000, 16_343, 15_000))) == [16_000]
    assert list(guesses(Sought("x", 9, 8, 1))) == [7, 6, 5, 4, 3]


def test_only_what_failed_for_want_of_threads_is_looked_for() -> None:
    """Not what was skipped, nor where no more were alive than already ran, nor what has been found."""
    plan = Plan(programs=("x",), tasks=(10, 100, 1000), runs=2)

    def made(tasks: int, status: str, alive: int | None = None, **more: object) -> Run:
        values = {"index": 0, "sleep_s": 1.0, "alive": alive, **more}
        return Run(program="x", tasks=tasks, status=status, **values)  # type: ignore[arg-type]

    failed = [made(10, "ok", 10), made(100, "failed", 50), made(1000, "failed", 55)]
    assert sought(plan, failed, {"x"}) == [Sought("x", 100, 50, 10)] or sought(plan, failed, {"x"})[0].alive == 55
    assert sought(plan, failed, ()) == []
    assert sought(plan, [made(10, "ok", 10), made(100, "skipped")], {"x"}) == []
    assert sought(plan, [made(10, "ok", 10), made(100, "failed", 8)], {"x"}) == []
    found = [made(49, "ok", 49, instead_of=100), made(49, "ok", 49, instead_of=100, index=1)]
    assert sought(plan, failed + found[:1], {"x"}) and sought(plan, failed + found, {"x"}) == []


LIMITED = """
import sys, threading, time
n, s = int(sys.argv[1]), float(sys.argv[2])
for i in range(n):
    if i == 60:
        time.sleep(0.2)
        sys.exit(f"could not start thread {i}: no more")
    threading.Thread(target=time.sleep, args=[s], daemon=True).start()
print(f"started {n}", flush=True)
time.sleep(s + 0.1)
print(f"done {n}", flush=True)
"""


@pytest.mark.usefixtures("own_machine")
def test_the_largest_number_that_runs_is_found(tmp_path: Path) -> None:
    """A program that cannot have 60 threads: 100 fails, and a number near 60 is measured as often as 100 was to be."""
    folder = tmp_path / "programs" / "limited"
    folder.mkdir(parents=True)
    (folder / "limited.py").write_text(LIMITED)
    (folder / "language.toml").write_text(
        'name = "Limited"\n[[toolchain]]\nname = "python"\nlabel = "Python {version}"\n'
        'run = ["{python}", "{source}"]\n[[toolchain.tool]]\nname = "python"\nlook = ["{this_python}"]\n'
        'ask = ["{python}", "--version"]\nanswer = \'Python (?P<version>[\\d.]+)\'\n'
        '[[program]]\nname = "limited"\ntitle = "Limited"\nkind = "thread"\nfile = "limited.py"\n'
    )
    plan = Plan(programs=("limited",), tasks=(5, 100), runs=2, sleep_s=1, programs_dirs=(str(folder.parent),))
    study = bench(plan, tmp_path / "study")
    (row,) = largest_rows(study)
    assert (row.instead_of, row.tasks, row.good_runs) == (100, 59, 2)
    assert row.median_bytes is not None and row.alive == 60
    failed = [run for run in study.runs if run.tasks == 100]
    assert [run.status for run in failed] == ["failed", "failed"]
    begun = time.monotonic()
    assert attrs.evolve(bench(plan, tmp_path / "study", resume=True), runs=study.runs) == study
    assert time.monotonic() - begun < 1, "what has been found is not looked for again"
