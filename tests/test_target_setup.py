"""What the command's process sets before its exec: the same as with `subprocess`, and the same errors."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.units import parse_cpus, parse_identity, parse_limits

IDENTITY = "id -u; id -ru; id -g; id -rg; id -G; umask"
"""A shell runs it: another user may not be able to run this Python."""
LEADER = "import os; print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())"
GROUP = "import os; print(os.getpgid(0))"
LIMITS = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))"
CPUS = "import os; print(sorted(os.sched_getaffinity(0)))"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user and the groups")


def output(script: str, **options: Any) -> str:
    """Return what a Python program prints that is started with these options."""
    m = concmem.measure([sys.executable, "-c", script], stdout=concmem.PIPE, check=True, **options)
    assert m.stdout is not None
    return m.stdout.decode()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (IDENTITY, {"umask": 0o137}),
        (IDENTITY, {"umask": -1}),
        ("ps -o pid=,sid=,pgid= -p $$ | awk '{print $1 == $2, $1 == $3}'", {"start_new_session": True}),
        pytest.param(IDENTITY, {"user": "nobody"}, marks=as_root),
        pytest.param(IDENTITY, {"user": 12345, "group": 23456, "extra_groups": [7, 8]}, marks=as_root),
        pytest.param(IDENTITY, {"group": "daemon", "extra_groups": ["daemon", 4711]}, marks=as_root),
        pytest.param(IDENTITY, {"extra_groups": []}, marks=as_root),
        pytest.param(IDENTITY, {"user": 65534, "umask": 0o77, "start_new_session": True}, marks=as_root),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_the_same_as_subprocess(script: str, options: dict[str, Any]) -> None:
    """The command finds the same state as when `subprocess` starts it with the same options."""
    expected = subprocess.run(script, shell=True, capture_output=True, text=True, check=True, **options)
    m = concmem.measure(script, stdout=concmem.PIPE, check=True, **options)
    assert m.stdout == expected.stdout.encode()
    assert len(m.stdout) > 2


def test_process_groups() -> None:
    """0 makes a new group; another number joins a group of the session. (`subprocess` has it since Python 3.11.)"""
    assert output(LEADER, process_group=0).split()[1] == "True"
    assert int(output(GROUP, process_group=os.getpgrp())) == os.getpgrp()


def test_a_process_group_of_another_session() -> None:
    """It cannot be joined: a PermissionError, as from `subprocess`."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        try:
            with pytest.raises(PermissionError, match=r"process_group=[0-9]+ cannot be set") as raised:
                concmem.measure(["true"], process_group=other.pid)
            assert isinstance(raised.value, concmem.NotPermitted)
            if sys.version_info >= (3, 11):
                with pytest.raises(PermissionError):
                    subprocess.run(["true"], process_group=other.pid, check=True)
        finally:
            other.kill()


def test_resource_limits() -> None:
    """A pair is the soft and the hard limit, and a number is both; nothing else changes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 200 if hard == resource.RLIM_INFINITY else min(hard, 200)
    limits = {resource.RLIMIT_NOFILE: (100, most), resource.RLIMIT_CORE: 0}
    assert output(LIMITS, rlimits=limits) == f"(100, {most}) (0, 0)\n"
    assert (
        output(LIMITS) == f"{resource.getrlimit(resource.RLIMIT_NOFILE)} {resource.getrlimit(resource.RLIMIT_CORE)}\n"
    )


def test_a_limit_acts_on_the_command() -> None:
    """A program cannot have more address space than RLIMIT_AS; the sampler is not limited."""
    script = "bytearray(1 << 30)"
    m = concmem.measure([sys.executable, "-c", script], rlimits={resource.RLIMIT_AS: 512 << 20}, stderr=concmem.PIPE)
    assert m.exit.code == 1 and m.stderr is not None and b"MemoryError" in m.stderr


def test_cpus() -> None:
    """The command runs on the CPUs that it is given, and the caller and later commands on all."""
    before = os.sched_getaffinity(0)
    last = max(before)
    assert output(CPUS, cpus=[last]) == f"[{last}]\n"
    assert output(CPUS, cpus={min(before), last, 8191}) == f"{sorted({min(before), last})}\n"
    assert output(CPUS) == f"{sorted(before)}\n"
    assert os.sched_getaffinity(0) == before


PASSING = """
import concmem, os, sys
reader, writer = os.pipe()
reader, writer = os.dup2(reader, 50), os.dup2(writer, 51)
for number in (3, 4, 5, 40, 200):
    os.dup2(writer, number)
fds = (reader, 3, 4, 5, 40, 200)
script = (
    "import os\\n"
    "os.write(200, b'by 200')\\n"
    "print([os.fstat(fd).st_ino for fd in (50, 3, 4, 5, 40, 200)])\\n"
    "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) > 2))"
)
m = concmem.measure([sys.executable, "-c", script], pass_fds=fds, stdout=concmem.PIPE, check=True)
inodes, shown = map(eval, m.stdout.splitlines())
assert inodes == [os.fstat(fd).st_ino for fd in fds], inodes
assert set(fds) < set(shown) and len(shown) == len(fds) + 1, shown  # and the folder that is listed
assert os.read(reader, 100) == b"by 200"
"""


def test_passed_descriptors_keep_their_numbers() -> None:
    """Each is open in the command under its number, whatever numbers the sampler uses; all others are closed."""
    done = subprocess.run([sys.executable, "-c", PASSING], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_passing_changes_nothing_in_the_caller() -> None:
    """A passed descriptor stays as it was here, may be the output as well, and is not passed to the next command."""
    reader, writer = os.pipe()
    script = f"import os; os.write({writer}, b'passed'); print('printed')"
    assert concmem.measure([sys.executable, "-c", script], pass_fds=[writer, 0, 1, 2, writer], stdout=writer).exit.ok
    assert os.read(reader, 100) == b"passedprinted\n"
    assert not os.get_inheritable(writer) and not os.get_inheritable(reader)
    assert concmem.measure([sys.executable, "-c", script], stdout=writer, stderr=concmem.DEVNULL).exit.code == 1
    os.close(reader)
    os.close(writer)


def test_a_passed_pipe_ends_with_the_command() -> None:
    """The sampler does not keep it open: the reader sees its end while the tree still runs."""
    reader, writer = os.pipe()
    script = f"import os, time; os.close({writer}); time.sleep(600)"
    with concmem.start([sys.executable, "-c", script], pass_fds=[writer]) as running:
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            assert file.read() == b""
        assert not running.root_ended


def test_in_threads() -> None:
    """Threads that start commands as different users at the same time do not mix them up, nor change the caller."""
    if os.geteuid() != 0:
        pytest.skip("only root may change the user and the groups")
    users: list[int] = []

    def run(uid: int) -> None:
        for _ in range(10):
            m = concmem.measure(["id", "-u"], user=uid, stdout=concmem.PIPE)
            users.append(int(m.stdout or b"0") - uid)

    threads = [threading.Thread(target=run, args=(uid,)) for uid in range(1000, 1008)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert users == [0] * 80
    assert os.getuid() == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"user": "no such user"}, KeyError),
        ({"group": "no such group"}, KeyError),
        ({"extra_groups": ["no such group"]}, KeyError),
        ({"user": -1}, ValueError),
        ({"group": -1}, ValueError),
        ({"extra_groups": [-1]}, ValueError),
        ({"user": 1.5}, TypeError),
        ({"group": [1]}, TypeError),
        ({"extra_groups": "daemon"}, (TypeError, ValueError)),
        ({"umask": None}, TypeError),
        ({"umask": "022"}, TypeError),
        ({"pass_fds": [999]}, OSError),
        ({"pass_fds": [-1]}, ValueError),
    ],
    ids=str,
)  # fmt: skip
def test_the_errors_of_subprocess(options: dict[str, Any], expected: Any) -> None:
    """Where `subprocess` raises an exception, concmem raises one that is of the same class."""
    with pytest.raises(expected) as theirs:
        subprocess.run(["true"], **options, check=True)
    with pytest.raises(expected) as ours:
        concmem.measure(["true"], **options)
    assert isinstance(ours.value, concmem.ConcmemError)
    assert isinstance(ours.value, theirs.type if issubclass(theirs.type, (OSError, KeyError)) else Exception)
    if isinstance(theirs.value, OSError):
        assert isinstance(ours.value, OSError) and ours.value.errno == theirs.value.errno
    assert "\n" not in str(ours.value) and not str(ours.value).startswith("'")
    again = pickle.loads(pickle.dumps(ours.value))
    assert (type(again), str(again)) == (type(ours.value), str(ours.value))


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        ({"rlimits": {resource.RLIMIT_NOFILE: (65, 64)}}, ValueError, "the soft limit 65 exceeds the hard limit 64"),
        ({"rlimits": {resource.RLIMIT_NOFILE: (1, 2, 3)}}, ValueError, "a soft and a hard limit"),
        ({"rlimits": {resource.RLIMIT_NOFILE: "64"}}, TypeError, "must be a whole number, not '64'"),
        ({"rlimits": {999: 1}}, ValueError, "a resource of rlimits must be from 0 to 15"),
        ({"rlimits": [1]}, TypeError, "rlimits must be a mapping"),
        ({"cpus": []}, ValueError, "cpus must name at least one CPU"),
        ({"cpus": 1}, TypeError, "cpus must be a list"),
        ({"cpus": [8191]}, OSError, "cpus=.8191. cannot be set: Invalid argument"),
        ({"pass_fds": range(100)}, ValueError, "pass_fds must have at most 64 elements, not 100"),
        ({"process_group": -1}, ValueError, "process_group must be from 0"),
        ({"umask": 0o1000}, ValueError, "umask must be from -1 to 511"),
        ({"timeout_grace_s": -1}, ValueError, "timeout_grace_s must be"),
        ({"cpu_limit_s": 0}, ValueError, "cpu_limit_s must be"),
        ({"processes_limit": 0}, ValueError, "processes_limit must be"),
    ],
    ids=str,
)
def test_other_errors(options: dict[str, Any], expected: type[Exception], message: str, tmp_path: Path) -> None:
    """What `subprocess` does not have is refused in the same way, and nothing runs."""
    ran = tmp_path / "ran"
    with pytest.raises(expected, match=message) as raised:
        concmem.measure(["touch", str(ran)], **options)
    assert isinstance(raised.value, concmem.ConcmemError)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("user=0", "user=0 cannot be set"),
        ("extra_groups=[0]", "extra_groups cannot be set"),
        ("rlimits={resource.RLIMIT_NOFILE: (1, 1 << 31)}", "rlimits: RLIMIT_NOFILE cannot be set"),
    ],
)
def test_what_an_ordinary_user_may_not_set(option: str, message: str, others_may_measure: None) -> None:
    """A PermissionError names the option; the command does not run."""
    script = (
        "import concmem, resource, os\nconcmem.measure(['true'])\n"
        "from concmem._native import target_setup\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"try: concmem.measure(['true'], {option})\n"
        "except PermissionError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith(f"NotPermitted true: {message}: Operation not permitted"), done.stderr


def test_failures_leave_nothing_open() -> None:
    """After an error between fork and exec all descriptors are closed, and no process is left."""
    gc.collect()  # so that descriptors of earlier tests are not closed between the two counts
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(OSError, match="cannot be set"):
            concmem.measure(["true"], cpus=[8191])
    assert len(os.listdir("/proc/self/fd")) <= before  # objects of earlier tests may be freed only now


def test_the_command() -> None:
    """``concmem run`` spells them as other tools do."""
    cpu = max(os.sched_getaffinity(0))
    script = f"{LIMITS}; {CPUS}"
    words = ["-q", "--rlimits", "nofile=64,core=0:0", "--cpus", str(cpu), "--", sys.executable, "-c", script]
    done = subprocess.run(
        [sys.executable, "-m", "concmem", "run", *words], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == f"(64, 64) (0, 0)\n[{cpu}]\n"


@as_root
def test_the_command_as_another_user() -> None:
    """``--user`` and ``--group`` take a name or a number."""
    for user, group in (("nobody", "daemon"), ("65534", "1")):
        words = ["-q", "--user", user, f"--group={group}", "--", "id", "-u", "-g"]
        words[-2:] = ["-u"]
        run = [sys.executable, "-m", "concmem", "run"]
        done = subprocess.run([*run, *words], capture_output=True, text=True, timeout=300, check=True)
        assert done.stdout == "65534\n"


def test_what_the_command_parses() -> None:
    """Lists of CPUs and limits; what is not one is refused with the text."""
    assert parse_cpus("0-2, 6") == (0, 1, 2, 6)
    assert parse_identity("1000") == 1000 and parse_identity("nobody") == "nobody"
    assert parse_limits("nofile=64:128, stack=8M:unlimited,cpu=1") == {
        resource.RLIMIT_NOFILE: (64, 128),
        resource.RLIMIT_STACK: (8 << 20, -1),
        resource.RLIMIT_CPU: (1, 1),
    }
    for text in ("", "a", "3-1", "1-", "-1", "1,,2"):
        with pytest.raises(concmem.InvalidRequest, match="is not a list of CPUs"):
            parse_cpus(text)
    with pytest.raises(concmem.InvalidRequest, match="'files' is not a resource; known are as, core, cpu"):
        parse_limits("files=1")
    with pytest.raises(concmem.InvalidRequest, match="is not an amount"):
        parse_limits("nofile=many")
