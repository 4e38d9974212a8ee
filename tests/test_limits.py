"""What of the machine stops N tasks: found beforehand, with the commands that lift it."""

from __future__ import annotations

import os
import resource
import subprocess
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
    """A folder that stands for the root of a machine with these limits."""
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
    """What matters of one."""
    return SimpleNamespace(kind=kind, mappings=mappings)


def threads_on(root: Path) -> list[Limit]:
    """What threads that take 4 mappings each meet there beside 68 others; what the user may have is left out."""
    found = limits_here([program("thread", 4)], of_others=68, root=str(root))
    return [limit for limit in found if limit.file is not None]


def test_every_limit_is_found_with_its_room(tmp_path: Path) -> None:
    """Those of the kernel less what others take, mappings by how many a thread takes, and the groups around."""
    assert {limit.name: limit.room for limit in threads_on(machine(tmp_path))} == {
        "kernel.pid_max": 32_700,
        "kernel.threads-max": 189_932,
        "vm.max_map_count": 16_382,
        f"pids.max of {tmp_path / GROUPS}": 4000,
    }


def test_every_group_around_counts_in_version_1_too(tmp_path: Path) -> None:
    """Its controllers have hierarchies of their own: that of pids is the one that matters."""
    root = machine(tmp_path, mounts=f"cgroup {tmp_path}/groups cgroup rw,pids 0 0", cgroup="4:memory:/x\n3:pids:/a/b")
    (root / "groups/a/pids.max").write_text("7000\n")
    groups = [limit.name for limit in threads_on(root) if limit.name.startswith("pids.max")]
    assert groups == [f"pids.max of {tmp_path / GROUPS}", f"pids.max of {tmp_path}/groups/a"]


def test_tasks_that_are_no_threads_meet_only_what_they_take(tmp_path: Path) -> None:
    """Fibers with a stack each take mappings; what has no stack of its own takes nothing that is limited."""
    root, fibers, coroutines = str(machine(tmp_path)), program("green thread", 2), program("event loop", 0)
    (found,) = limits_here([fibers, coroutines], of_others=68, root=root)
    assert (found.name, found.room) == ("vm.max_map_count", 32_765)
    assert limits_here([coroutines], of_others=68, root=root) == []


def test_an_ordinary_user_has_a_limit_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RLIMIT_NPROC, less what the user has running; ulimit raises it as far as the hard limit."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40_960, 65_536))
    found = limits_here([program("thread", 2)], of_others=0, root=str(machine(tmp_path)))
    (limit,) = (limit for limit in found if limit.name == "RLIMIT_NPROC")
    assert limit.taken > 0 and limit.room == 40_960 - limit.taken
    (obstacle,) = obstacles([limit], 45_000)
    assert obstacle.lift == f"ulimit -u {45_000 + limit.taken + 2048}"
    assert [obstacle.lift for obstacle in obstacles([limit], 70_000)] == [""]


def test_obstacles_come_narrowest_first_with_the_command_that_lifts_them(tmp_path: Path) -> None:
    """At 100,000 threads three stand in the way; at 1,000 none; what cannot be set so high has no command."""
    found = threads_on(machine(tmp_path))
    assert obstacles(found, 1000) == []
    assert [(obstacle.room, obstacle.lift) for obstacle in obstacles(found, 100_000)] == [
        (4000, f"echo 103048 | sudo tee {tmp_path / GROUPS / 'pids.max'}"),
        (16_382, "sudo sysctl -w vm.max_map_count=402048"),
        (32_700, "sudo sysctl -w kernel.pid_max=102116"),
    ]
    (most,) = (obstacle for obstacle in obstacles(found, 5_000_000) if obstacle.name == "kernel.pid_max")
    assert (most.lift, most.needed) == ("", 5_002_116)


def test_a_limit_that_several_runs_met_is_lifted_once() -> None:
    """By the command with the largest value, in the order in which the limits were met."""

    def met(name: str, needed: int, lift: str) -> Obstacle:
        return Obstacle(name, 10, needed, 10, lift)

    found = [met("a", 20, "a=20"), met("b", 70, "b=70"), met("a", 90, "a=90"), met("a", 50, "a=50"), met("c", 9, "")]
    assert commands(found) == ["a=90", "b=70"]


def test_memory_is_a_limit_that_nothing_lifts() -> None:
    """A million threads of 8 KiB need 34 GiB with what the kernel keeps for them; 20 GiB hold half a million."""
    limit = memory_limit(8 << 10, 20 << 30)
    assert limit.room == (20 << 30) // ((8 << 10) + KERNEL_BYTES_EACH)
    (obstacle,) = obstacles([limit], 1_000_000)
    assert (obstacle.name, obstacle.lift) == ("memory", "")
    assert str(obstacle) == "34.3 GiB of memory is needed, 20.0 GiB is free"
    assert obstacles([limit], 500_000) == []


def test_the_limit_that_was_met_is_named(tmp_path: Path) -> None:
    """By how many threads there were: of the program, of the machine where all count, times their mappings."""
    found = threads_on(machine(tmp_path, **{"pids.max": 20_000}))

    def said(threads: int, on_machine: int) -> str:
        return limit_reached(threads, found, on_machine)

    assert said(32_500, 32_700) == said(32_700, 0) == "kernel.pid_max is 32768"
    assert said(12_000, 32_700) == "kernel.pid_max is 32768, and other processes had 20 700 threads"
    assert said(16_367, 16_500) == "vm.max_map_count is 65530"
    assert said(18_990, 19_100) == f"pids.max of {tmp_path / GROUPS} is 20000"
    assert said(5_000, 5_150) == limit_reached(32_500, [], 32_700) == ""


@pytest.mark.parametrize("name", ["c-threads", "java-threads", "rust-threads", "zig-threads"])
def test_a_thread_takes_as_many_mappings_as_its_manifest_says(name: str) -> None:
    """Counted in /proc/PID/maps, between 1,000 and 3,000 threads."""
    meant = drivers.load_programs()[name]
    few, many = (_mappings(meant, tasks) for tasks in (1000, 3000))
    assert (many - few) / 2000 == pytest.approx(meant.mappings, abs=0.5)


def test_what_the_kernel_keeps_for_a_thread_is_about_what_is_stated() -> None:
    """By the charge of their own control group, 2,000 threads take no more than is stated each, and not much less."""
    m = concmem.measure(known("hold", 0, 2000, 1), stdout=subprocess.DEVNULL, cgroup=True)
    if "kernel" not in m.cgroup_parts:
        pytest.skip(f"what the kernel keeps for a group cannot be read here: {m.cgroup_peak.note}")
    assert 0.8 * KERNEL_BYTES_EACH <= m.cgroup_parts["kernel"] / 2000 <= 1.1 * KERNEL_BYTES_EACH


def _mappings(program: drivers.Program, tasks: int) -> int:
    """How many a program has while its tasks sleep."""
    if isinstance(found := drivers.detect(program), drivers.Missing):
        pytest.skip(found.reason)
    try:
        ready = drivers.prepare(program, found)
    except drivers.BuildError as error:
        pytest.skip(str(error))
    with subprocess.Popen(ready.command(tasks, 60), env=ready.env, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != f"started {tasks}\n":
                pytest.skip(f"{program.name} cannot have {tasks} threads here: others have {threads_on_machine()}")
            return len(Path(f"/proc/{child.pid}/maps").read_text().splitlines())
        finally:
            child.kill()
