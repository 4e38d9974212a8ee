"""The sampler's reading of control groups, on folders with the files of either version."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from c_programs import compile_c

ROOT = Path(__file__).resolve().parent.parent

V2 = {
    "memory.peak": "322961408\n",
    "memory.current": "314572800\n",
    "memory.stat": "anon 1048576\nfile 314000000\nkernel 9000000\nkernel_stack 163840\npagetables 94208\n"
    "sec_pagetables 0\npercpu 0\nsock 4096\nvmalloc 0\nshmem 4000000\nfile_mapped 77\nanon_thp 0\nslab 8388608\n"
    "swapcached 4096\n",
    "memory.swap.current": "12288\n",
}
V1 = {
    "memory.max_usage_in_bytes": "322961408\n",
    "memory.usage_in_bytes": "314572800\n",
    "memory.stat": "cache 999\nrss 999\nshmem 999\nmapped_file 999\ntotal_cache 314000000\ntotal_rss 1048576\n"
    "total_rss_huge 0\ntotal_shmem 4000000\ntotal_mapped_file 77\ntotal_swap 8192\n",
    "memory.kmem.usage_in_bytes": "9000000\n",
    "memory.kmem.tcp.usage_in_bytes": "4096\n",
}
READ = {
    "peak": 322961408,
    "usage": 314572800,
    "anon": 1048576,
    "file": 310000000,  # the kernel includes shared memory in the page cache
    "shmem": 4000000,
    "kernel": 9000000,
    "kernel_stack": 163840,
    "page_tables": 94208,
    "sock": 4096,
    "mapped": 77,
    "swap": 8192,  # less what is in memory as well
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("csrc/sources/cgroup.c", "csrc/shared/lines.c", "csrc/shared/proc.c")
    program = tmp_path_factory.mktemp("group") / "read_group"
    return compile_c(program, "read_group", *[ROOT / name for name in names])


def read(reader: Path, folder: Path, files: dict[str, str], version: int) -> dict[str, Any]:
    for name, content in files.items():
        (folder / name).write_text(content)
    done = subprocess.run([reader, folder, str(version)], capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_version_2(reader: Path, tmp_path: Path) -> None:
    """Peak, current charge and every part, each from its own line."""
    assert read(reader, tmp_path, V2, 2) == READ


def test_version_1(reader: Path, tmp_path: Path) -> None:
    """The same, but of kernel memory only the total and that of TCP. The sums include groups below."""
    assert read(reader, tmp_path, V1, 1) == READ | {"kernel_stack": 0, "page_tables": 0}


@pytest.mark.parametrize(
    ("version", "file", "content"),
    [
        (2, "memory.events", "low 0\nhigh 5\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n"),
        (1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
    ],
)
def test_processes_that_the_oom_killer_killed(
    reader: Path, tmp_path: Path, version: int, file: str, content: str
) -> None:
    """The number is in the line of exactly that name; it is unknown if the kernel does not count them."""
    files = V2 if version == 2 else V1
    assert read(reader, tmp_path, files | {file: content}, version)["oom_kills"] == 3
    assert "oom_kills" not in read(reader, tmp_path, files | {file: "oom_kill_disable 0\nunder_oom 0\n"}, version)


@pytest.mark.parametrize(
    ("version", "file", "content", "none"),
    [
        (2, "memory.events.local", "low 0\nhigh 5\nmax 7\noom 2\noom_kill 0\n", "max 7\noom 0\noom_kill 2\n"),
        (1, "memory.failcnt", "2\n", "0\n"),
    ],
)
def test_how_often_the_limit_was_reached(
    reader: Path, tmp_path: Path, version: int, file: str, content: str, none: str
) -> None:
    """Only the group's own limit counts: in version 2, memory.events has the groups below as well."""
    files = V2 | {"memory.events": "oom 9\n"} if version == 2 else V1
    assert "limit_hits" not in read(reader, tmp_path, files, version)
    assert read(reader, tmp_path, files | {file: content}, version)["limit_hits"] == 2
    assert "limit_hits" not in read(reader, tmp_path, files | {file: none}, version)


def test_version_2_without_a_peak(reader: Path, tmp_path: Path) -> None:
    """A kernel before 5.19 has no maximum, and no other value replaces it."""
    files = {name: content for name, content in V2.items() if name != "memory.peak"}
    assert read(reader, tmp_path, files, 2) == {"why": "this kernel has no memory.peak (5.19 or later)"}
