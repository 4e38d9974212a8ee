"""`cgroup_limit_bytes`: the limit of the command's own control group, which the kernel enforces."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from c_programs import compile_c

import concmem
from concmem._cgroup.groups import Groups, probe
from concmem._figures.sentences import headline
from concmem.model import Exit, Measurement, OutOfMemory
from concmem.testing import known

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
LIMIT_BYTES = 50 * MIB
COUNTERS = {1: "memory.oom_control oom_kill", 2: "memory.events oom_kill"}

_HOG = "import ctypes; ctypes.CDLL(None).mlockall(3); b = bytearray(100 << 20)"
"""Touch 100 MiB. They are locked, where that is permitted: the kernel could swap them out instead."""

_OWN_LIMIT = """
from pathlib import Path
groups = {}
for line in Path("/proc/self/cgroup").read_text().splitlines():
    _, controllers, path = line.split(":", 2)
    groups |= dict.fromkeys(controllers.split(","), path)
for line in Path("/proc/self/mountinfo").read_text().splitlines():
    mount = line.split()
    top, point, kind, options = mount[3], mount[4], mount[mount.index("-") + 1], mount[-1].split(",")
    if kind == "cgroup2" or (kind == "cgroup" and "memory" in options):
        path = groups["" if kind == "cgroup2" else "memory"].removeprefix(top.rstrip("/"))
        file = Path(point + path, "memory.max" if kind == "cgroup2" else "memory.limit_in_bytes")
        print(file.read_text() if file.exists() else "")
"""
"""Print the limit of the own group, as runtimes look it up."""


def measure(command: Any, **options: Any) -> Measurement:
    """Measure with the limit; skip the test if no group can be made here."""
    usable, why_not = probe()
    if not usable:
        pytest.skip(f"no group with a memory controller: {why_not}")
    return concmem.measure(command, **{"cgroup_limit_bytes": LIMIT_BYTES, **options})


def test_a_program_above_the_limit_is_ended_by_it() -> None:
    """The kernel kills it at 50 of 100 MiB. The reason, the sentences and the stored form name the limit."""
    m = measure([sys.executable, "-c", _HOG])
    assert m.exit == Exit(None, 9, "cgroup_limit")
    assert (m.exit.status, m.exit.ok) == (137, False)
    assert m.oom is not None and m.oom.source in COUNTERS.values()
    assert m.oom == OutOfMemory(1, m.oom.source, certain=True, limit_bytes=LIMIT_BYTES)
    assert headline(m).endswith(" until it was ended by the limit of its control group (50.0 MiB).")
    assert m.peak.note.startswith("what it used until it was ended by the limit of its control group (50.0 MiB): ")
    assert m.cgroup_peak.bytes is not None and LIMIT_BYTES - MIB < m.cgroup_peak.bytes <= LIMIT_BYTES
    again = Measurement.from_dict(json.loads(json.dumps(m.to_dict())))
    assert (again.exit, again.oom, headline(again)) == (m.exit, m.oom, headline(m))


def test_a_program_below_the_limit_runs_to_its_end() -> None:
    """20 MiB fit, and the group is requested by the limit alone."""
    m = measure(known("hold", 20 * MIB, 1, 0), stdout=subprocess.DEVNULL)
    assert (m.exit, m.oom) == (Exit(0, None, "exited"), None)
    assert m.cgroup_peak.bytes is not None and 20 * MIB <= m.cgroup_peak.bytes <= LIMIT_BYTES
    assert headline(m).startswith("hold needed ")


@pytest.mark.parametrize("limit_bytes", [1, 4096, 16 << 10])
def test_a_limit_that_is_too_small_to_start(limit_bytes: int) -> None:
    """The kernel refuses the exec. The sentence names the limit, and the sampler lives on to report it."""
    with pytest.raises(concmem.CommandError, match=r"cannot be executed: the limit of its control group \(\S+ K?i?B\)"):
        measure(["/bin/true"], cgroup_limit_bytes=limit_bytes, env={})


def test_page_cache_is_reclaimed(tmp_path: Path) -> None:
    """A file of 100 MiB is written under a limit of 50: the kernel reclaims page cache, and kills no process."""
    m = measure(["dd", "if=/dev/zero", f"of={tmp_path / 'file'}", "bs=1M", "count=100"], stderr=subprocess.DEVNULL)
    assert (m.exit, m.oom) == (Exit(0, None, "exited"), None)
    assert m.cgroup_peak.bytes is not None and m.cgroup_peak.bytes <= LIMIT_BYTES


def test_the_command_can_read_the_limit() -> None:
    """It is there from the first instruction on, in the group that /proc/self/cgroup names."""
    m = measure([sys.executable, "-c", _OWN_LIMIT], stdout=concmem.PIPE)
    assert m.stdout is not None
    assert str(LIMIT_BYTES) in m.stdout.decode().split()
    m = concmem.measure([sys.executable, "-c", _OWN_LIMIT], cgroup=True, stdout=concmem.PIPE)
    assert m.stdout is not None
    assert str(LIMIT_BYTES) not in m.stdout.decode().split()


def test_another_process_of_the_tree_is_ended() -> None:
    """The root goes on. The sentence names the OOM killer and the limit."""
    m = measure(["sh", "-c", f"{shlex.quote(sys.executable)} -c '{_HOG}'; exit 3"])
    assert m.exit == Exit(3, None, "exited")
    assert m.oom is not None and (m.oom.kills, m.oom.limit_bytes) == (1, LIMIT_BYTES)
    words = "until a process of it was ended by the OOM killer (limit of its control group: 50.0 MiB)."
    assert headline(m).endswith(words)


def test_a_sigkill_below_the_limit_is_a_signal() -> None:
    """The kernel's counter has not risen, so the limit is not the reason."""
    m = measure("kill -9 $$")
    assert m.exit.signal == 9 and m.exit.reason != "cgroup_limit"


def test_the_polled_limit_keeps_its_reason() -> None:
    """With both limits, the one that acts is named."""
    m = measure([sys.executable, "-c", f"{_HOG}; import time; time.sleep(300)"], cgroup_limit_bytes=1 << 30,
                memory_limit_bytes=LIMIT_BYTES)  # fmt: skip
    assert (m.exit.reason, m.oom) == ("memory_limit", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_permission(host_python: Any, tmp_path: Path) -> None:
    """One sentence, and the command is not started."""
    tmp_path.chmod(0o777)
    script = (
        "import json, os, sys\n"
        "from concmem import ConcmemError, measure\n"  # before it may not read these files any more
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "os.environ.pop('XDG_RUNTIME_DIR', None)\n"
        "try:\n"
        "    measure(['touch', sys.argv[1]], cgroup_limit_bytes=50 << 20)\n"
        "except ConcmemError as error:\n"
        "    print(json.dumps([type(error).__name__, str(error)]))\n"
    )
    kind, text = host_python(script, tmp_path / "ran")
    assert kind == "UnsupportedPlatform"
    if probe()[0]:
        text = re.sub(r"/\S+", "FOLDER", text)
        assert text == (
            "the command cannot be limited to 50.0 MiB: "
            "this user may not make a control group in FOLDER root may"
        )  # fmt: skip
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("is_delegated", [False, True], ids=["version 1", "delegated"])
@pytest.mark.parametrize("limit_bytes", [None, LIMIT_BYTES])
def test_a_group_that_cannot_be_entered(
    is_delegated: bool, limit_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit the command runs without its group; with one it is not started. Here the group is a folder."""
    group = tmp_path / "group"
    group.mkdir()
    fd = os.open(group, os.O_RDONLY)

    def make(*_: Any, **__: Any) -> Groups:
        return Groups(memory_fd=fd, memory_version=2 if is_delegated else 1, is_delegated=is_delegated)

    monkeypatch.setattr("concmem.running.launched.make_groups", make)
    command, ran = ["touch", str(tmp_path / "ran")], tmp_path / "ran"
    try:
        if limit_bytes is None:
            assert concmem.measure(command, cgroup=True).exit.ok
            assert ran.exists()
            return
        with pytest.raises(concmem.UnsupportedPlatform) as raised:
            concmem.measure(command, cgroup_limit_bytes=limit_bytes)
        assert str(raised.value) == (
            "the command cannot be limited to 50.0 MiB: "
            "its control group could not be set up: No such file or directory"
        )  # fmt: skip
        assert not ran.exists()
    finally:
        os.close(fd)


def concmem_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "concmem", "run", *arguments]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def test_the_command_line() -> None:
    """The status is that of the OOM killer's SIGKILL, and --no-cgroup does not switch the limit off."""
    measure(["true"])
    for options in ([], ["--no-cgroup"]):
        done = concmem_run("--cgroup-limit", "50M", *options, "--", sys.executable, "-c", _HOG)
        assert done.returncode == 137
        assert "until it was ended by the limit of its control group (50.0 MiB)." in " ".join(done.stderr.split())
        assert "over the limit of its control group" in " ".join(done.stderr.split())
    assert concmem_run("--cgroup-limit", "50M", "-q", "--", "true").returncode == 0


@attrs.frozen
class Delegated:
    """A folder that imitates a group which systemd delegated to the sampler, and the program that uses it."""

    mount: Path
    program: Path

    @property
    def limit(self) -> Path:
        """The file with the limit of the target's group."""
        return next(self.mount.rglob("target")) / "memory.max"

    def make(self, limit_bytes: int) -> int:
        """Make the target's group as the sampler does; return 0 or an errno."""
        done = subprocess.run([self.program, self.mount, str(limit_bytes)], capture_output=True, text=True, check=True)
        return int(done.stdout)


@pytest.fixture
def delegated(tmp_path: Path) -> Iterator[Delegated]:
    (own,) = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.M) or [""]
    if own.startswith(".."):
        pytest.skip(f"the own group is outside of the namespace: {own}")
    group = tmp_path / "mount" / own
    for name in ("sampler/cgroup.procs", "target/memory.max", "cgroup.subtree_control"):
        (group / name).parent.mkdir(parents=True, exist_ok=True)
        (group / name).touch()
    names = ("sampler/delegated_group.c", "shared/cgroup_enter.c", "shared/lines.c", "shared/proc.c")
    program = compile_c(tmp_path / "delegated_group", "delegated_group", *[ROOT / "csrc" / name for name in names])
    yield Delegated(tmp_path / "mount", program)


def test_the_sampler_limits_the_group_that_it_makes(delegated: Delegated) -> None:
    """The target's group has the limit before the target starts, and none if none is requested."""
    assert delegated.make(0) == 0
    assert delegated.limit.read_text() == ""
    assert delegated.make(LIMIT_BYTES) == 0
    assert delegated.limit.read_text() == str(LIMIT_BYTES)


def test_a_limit_that_the_sampler_cannot_set(delegated: Delegated) -> None:
    """A group without the limit is not used."""
    delegated.limit.unlink()
    assert delegated.make(0) == 0
    assert os.strerror(delegated.make(LIMIT_BYTES)) == "No such file or directory"
