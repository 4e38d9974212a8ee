"""Limits of the machine that stop N tasks: found in advance, with the commands that raise them."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import concmem
from concmem.drivers import programs as drivers
from concmem.host import threads_on_machine
from concmem.study.limits.kinds import (
    KERNEL_BYTES_EACH,
    Limit,
    Obstacle,
    commands,
    limits_here,
    memory_limit,
    obstacles,
)
from concmem.study.running.reasons import limit_reached
from concmem.testing import known

GROUPS = "groups/a/b"


def machine(root: Path, **values: object) -> Path:
    """Create a folder in place of the root of a machine with these limits."""
    files = {
        "proc/sys/kernel/pid_max": 32768,
        "proc/sys/kernel/threads-max": 190_000,
        "proc/sys/vm/max_map_count": 65530,
        "proc/self/mounts": f"cgroup2 {root}/groups cgroup2 rw 0 0",
        "proc/self/cgroup": "0::/a/b",
        "groups/pids.current": 9,
        "groups/a/pids.max": "max",
        f"{GROUPS}/pids.max": 5000,
        f"{GROUPS}/pids.current": 1000,
    }
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{values.get(path.name, value)}\n")
    return root


def program(kind: str, mappings: int) -> Any:
    """Return the attributes of a program that matter here."""
    return SimpleNamespace(kind=kind, mappings=mappings)


def threads_on(root: Path) -> list[Limit]:
    """Return the limits on threads with 4 mappings each, beside 68 other threads and without the user's limit."""
    result = limits_here([program("thread", 4)], of_others=68, root=str(root))
    return [limit for limit in result if limit.file is not None]


def test_every_limit_is_found_with_its_number_of_tasks(tmp_path: Path) -> None:
    """Limits of the kernel less what others take, mappings divided by those of a thread, and the enclosing groups."""
    assert {limit.name: limit.room for limit in threads_on(machine(tmp_path))} == {
        "kernel.pid_max": 32_700,
        "kernel.threads-max": 189_932,
        "vm.max_map_count": 16_382,
        f"pids.max of {tmp_path / GROUPS}": 4000,
    }


def test_every_enclosing_group_counts_in_version_1_too(tmp_path: Path) -> None:
    """Its controllers have separate hierarchies; that of pids matters."""
    root = machine(tmp_path, mounts=f"cgroup {tmp_path}/groups cgroup rw,pids 0 0", cgroup="4:memory:/x\n3:pids:/a/b")
    (root / "groups/a/pids.max").write_text("7000\n")
    groups = [limit.name for limit in threads_on(root) if limit.name.startswith("pids.max")]
    assert groups == [f"pids.max of {tmp_path / GROUPS}", f"pids.max of {tmp_path}/groups/a"]


def test_tasks_other_than_threads_meet_only_the_limits_that_they_use(tmp_path: Path) -> None:
    """Fibers with a stack each take mappings; tasks without a stack take nothing that is limited."""
    root, fibers, coroutines = str(machine(tmp_path)), program("green thread", 2), program("event loop", 0)
    (result,) = limits_here([fibers, coroutines], of_others=68, root=root)
    assert (result.name, result.room) == ("vm.max_map_count", 32_765)
    assert limits_here([coroutines], of_others=68, root=root) == []


def test_without_root_there_is_one_more_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RLIMIT_NPROC, less the threads of the user; ulimit raises it up to the hard limit."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40_960, 65_536))
    result = limits_here([program("thread", 2)], of_others=0, root=str(machine(tmp_path)))
    (limit,) = (limit for limit in result if limit.name == "RLIMIT_NPROC")
    assert limit.taken > 0 and limit.room == 40_960 - limit.taken
    (obstacle,) = obstacles([limit], 45_000)
    assert obstacle.lift == f"ulimit -u {45_000 + limit.taken + 2048}"
    assert [obstacle.lift for obstacle in obstacles([limit], 70_000)] == [""]


def test_obstacles_come_narrowest_first_with_the_command_that_raises_them(tmp_path: Path) -> None:
    """100,000 threads exceed three limits, 1,000 none; a limit that cannot be set so high has no command."""
    result = threads_on(machine(tmp_path))
    assert obstacles(result, 1000) == []
    assert [(obstacle.room, obstacle.lift) for obstacle in obstacles(result, 100_000)] == [
        (4000, f"echo 103048 | sudo tee {tmp_path / GROUPS / 'pids.max'}"),
        (16_382, "sudo sysctl -w vm.max_map_count=402048"),
        (32_700, "sudo sysctl -w kernel.pid_max=102116"),
    ]
    (most,) = (obstacle for obstacle in obstacles(result, 5_000_000) if obstacle.name == "kernel.pid_max")
    assert (most.lift, most.needed) == ("", 5_002_116)


def test_a_limit_that_several_runs_exceed_is_raised_once() -> None:
    """By the command with the largest value; the commands are in the order of the limits."""

    def met(name: str, needed: int, lift: str) -> Obstacle:
        return Obstacle(name, 10, needed, 10, lift)

    result = [met("a", 20, "a=20"), met("b", 70, "b=70"), met("a", 90, "a=90"), met("a", 50, "a=50"), met("c", 9, "")]
    assert commands(result) == ["a=90", "b=70"]


def test_memory_is_a_limit_without_a_command() -> None:
    """A million threads of 8 KiB need 34 GiB with their kernel memory; 20 GiB hold half a million."""
    limit = memory_limit(8 << 10, 20 << 30)
    assert limit.room == (20 << 30) // ((8 << 10) + KERNEL_BYTES_EACH)
    (obstacle,) = obstacles([limit], 1_000_000)
    assert (obstacle.name, obstacle.lift) == ("memory", "")
    assert str(obstacle) == "34.3 GiB of memory is needed, 20.0 GiB is free"
    assert obstacles([limit], 500_000) == []


def test_the_limit_that_was_reached_is_named(tmp_path: Path) -> None:
    """By the number of threads: of the program, of the machine, or times their mappings."""
    result = threads_on(machine(tmp_path, **{"pids.max": 20_000}))

    def message(threads: int, on_machine: int) -> str:
        return limit_reached(threads, result, on_machine)

    assert message(32_500, 32_700) == message(32_700, 0) == "kernel.pid_max is 32768"
    assert message(12_000, 32_700) == "kernel.pid_max is 32768, and other processes had 20 700 threads"
    assert message(16_367, 16_500) == "vm.max_map_count is 65530"
    assert message(18_990, 19_100) == f"pids.max of {tmp_path / GROUPS} is 20000"
    assert message(5_000, 5_150) == limit_reached(32_500, [], 32_700) == ""


@pytest.mark.parametrize("name", ["c-threads", "java-threads", "rust-threads", "zig-threads"])
def test_a_thread_takes_as_many_mappings_as_its_manifest_says(name: str) -> None:
    """Counted in /proc/PID/maps, between 1,000 and 3,000 threads."""
    program_read = drivers.load_programs()[name]
    few, many = (_mappings(program_read, tasks) for tasks in (1000, 3000))
    assert (many - few) / 2000 == pytest.approx(program_read.mappings, abs=0.5)


def test_what_the_kernel_keeps_for_a_thread_is_about_what_is_stated() -> None:
    """By the charge of their own control group, 2,000 threads take no more than is stated each, and not much less."""
    m = concmem.measure(known("hold", 0, 2000, 1), stdout=subprocess.DEVNULL, cgroup=True)
    if "kernel" not in m.cgroup_parts:
        pytest.skip(f"what the kernel keeps for a group cannot be read here: {m.cgroup_peak.note}")
    assert 0.8 * KERNEL_BYTES_EACH <= m.cgroup_parts["kernel"] / 2000 <= 1.1 * KERNEL_BYTES_EACH


def _settled(maps: Path) -> int:
    """Return the number of lines when it changes no more: a thread maps its signal stack when it first runs."""
    before = 0
    while (now := len(maps.read_text().splitlines())) != before:
        before = now
        time.sleep(0.5)
    return now


def _mappings(program: drivers.Program, tasks: int) -> int:
    """Count the mappings of a program while its tasks sleep."""
    if isinstance(result := drivers.detect(program), drivers.Missing):
        pytest.skip(result.reason)
    try:
        ready = drivers.prepare(program, result)
    except drivers.BuildError as error:
        pytest.skip(str(error))
    with subprocess.Popen(ready.command(tasks, 60), env=ready.env, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != f"started {tasks}\n":
                pytest.skip(f"{program.name} cannot have {tasks} threads here: others have {threads_on_machine()}")
            return _settled(Path(f"/proc/{child.pid}/maps"))
        finally:
            child.kill()
