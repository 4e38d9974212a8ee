"""Without the /proc of its own PID namespace, concmem measures nothing and prints one sentence."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import concmem
from concmem.host import check_proc

CONCMEM = f"{sys.executable} -m concmem"
API = f"{sys.executable} -c \"import concmem; concmem.measure(['true'])\""


def inside(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in separate mount and PID namespaces."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, to mount another /proc")
    if subprocess.run(["unshare", "-m", "-p", "-f", "true"], capture_output=True).returncode:
        pytest.skip("requires permission to make mount and PID namespaces")
    own = "mount --make-rprivate / && cd /tmp && "
    return subprocess.run(
        ["unshare", "-m", *options, "sh", "-c", own + script], capture_output=True, text=True, timeout=300
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 125, done
    assert done.stderr.startswith("concmem: ") and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("command", ["run -- true", "doctor", "doctor --json"])
def test_no_proc(command: str) -> None:
    """One sentence, not a traceback or only a file name."""
    done = inside(f"mount -t tmpfs none /proc && {CONCMEM} {command}")
    assert_one_sentence(done, "/proc is not mounted", "mount -t proc proc /proc")


def test_no_proc_in_a_study(tmp_path: Path) -> None:
    """It leaves no files."""
    out = tmp_path / "study"
    done = inside(f"mount -t tmpfs none /proc && {CONCMEM} bench --programs python --tasks 1 --out {out}")
    assert done.returncode == 125 and "/proc is not mounted" in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("command", ["run -- true", "doctor"])
def test_the_proc_of_another_namespace(command: str) -> None:
    """There a PID is that of another process, with other figures."""
    done = inside(f"{CONCMEM} {command}", "-p", "-f")
    assert_one_sentence(done, "another PID namespace", "mount")


def test_a_proc_without_machine_wide_files() -> None:
    """The sentence names the missing file."""
    done = inside(f"mount -t proc -o subset=pid none /proc && {CONCMEM} run -- true")
    if "bad option" in done.stderr or "wrong fs type" in done.stderr:
        pytest.skip("this kernel's /proc has no subset=pid (Linux 5.8)")
    assert_one_sentence(done, "/proc/meminfo cannot be read", "subset=pid")


def test_errors_of_the_api() -> None:
    """An UnsupportedPlatform, not a FileNotFoundError."""
    for script in (f"mount -t tmpfs none /proc && {API}", f"unshare -p -f {API}"):
        done = inside(script)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("concmem.errors.UnsupportedPlatform: /proc "), done.stderr


def test_children_of_another_namespace() -> None:
    """After unshare(CLONE_NEWPID), the host's /proc shows new children under other PIDs."""
    program = (
        "import ctypes, concmem; assert ctypes.CDLL(None, use_errno=True).unshare(0x20000000) == 0; "
        "concmem.measure(['true'])"
    )
    done = inside(f'{sys.executable} -c "{program}"')
    assert "UnsupportedPlatform: children of this process" in done.stderr


def test_hidepid() -> None:
    """All processes of the user are visible, and the figures are as without hidepid."""
    program = (
        "import os, concmem; concmem.measure(['true']); os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "m = concmem.measure(['/bin/sh', '-c', 'x=$(seq 5000000); :'], cgroup=False); "
        "print(m.peak.status, m.peak.bytes)"
    )
    done = inside(f"mount -t proc -o hidepid=2 none /proc && exec {shlex.join([sys.executable, '-c', program])}")
    assert done.returncode == 0, done.stderr
    status, size = done.stdout.split()
    assert status == "bounded" and int(size) > 38_000_000  # that many digits and newlines


def test_the_right_proc() -> None:
    """It is accepted here, and in a PID namespace with its own /proc."""
    check_proc()
    assert concmem.measure(["true"]).exit.ok
    done = inside(f"{CONCMEM} run -q -- true", "-p", "-f", "--mount-proc")
    assert (done.returncode, done.stderr) == (0, "")
