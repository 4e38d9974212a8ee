"""Launching: the target starts as under any other parent, and a failed start is one clear error."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem import errors

pytestmark = pytest.mark.usefixtures("no_child_left")


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


# What cannot start ----------------------------------------------------------------------------------------------------


def unstartable(kind: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    match kind:
        case "not found":
            return ["/nonexistent/program"], {}
        case "not found in PATH":
            return ["concmem-no-such-program"], {}
        case "not executable":
            (folder / "plain").write_text("text")
            return [str(folder / "plain")], {}
        case "directory":
            return [str(folder)], {}
        case "below a file":
            (folder / "plain").write_text("text")
            return [str(folder / "plain" / "program")], {}
        case "bad interpreter":
            return [executable(folder / "script", "#!/nonexistent/interpreter\n")], {}
        case "not a program":
            program = Path(executable(folder / "program", ""))
            program.write_bytes(b"\x7fELF\x02\x01\x01\0 of another machine\n")
            return [str(program)], {}
        case "bad cwd":
            return ["/bin/true"], {"cwd": str(folder / "missing")}
        case "cwd is a file":
            (folder / "plain").write_text("text")
            return ["/bin/true"], {"cwd": str(folder / "plain")}
        case "3 MiB of arguments":
            return ["/bin/true", *["x" * 65_535] * 48], {}
        case "one argument of 3 MiB":
            return ["/bin/true", "x" * (3 << 20)], {}
    raise AssertionError(kind)


UNSTARTABLE = {
    "not found": (errors.CommandNotFound, 127),
    "not found in PATH": (errors.CommandNotFound, 127),
    "not executable": (errors.CommandNotExecutable, 126),
    "directory": (errors.CommandNotExecutable, 126),
    "below a file": (errors.CommandNotFound, 127),
    "bad interpreter": (errors.BadInterpreter, 126),
    "not a program": (errors.CommandNotExecutable, 126),
    "bad cwd": (errors.BadWorkingDirectory, 125),
    "cwd is a file": (errors.BadWorkingDirectory, 125),
    "3 MiB of arguments": (errors.CommandTooLong, 126),
    "one argument of 3 MiB": (errors.CommandTooLong, 126),
}


@pytest.mark.parametrize("way", ["by its path", "in PATH", "in the working directory"])
def test_a_script_without_an_interpreter_is_run_by_the_shell(way: str, tmp_path: Path) -> None:
    """As under time, env, nice and timeout. Its arguments are unchanged, and an empty script does nothing."""
    path = executable(tmp_path / "script", 'printf "%s|" "${0##*/}" "$@"; exit 7\n')
    options: dict[str, Any] = {"stdout": concmem.PIPE}
    if way == "in PATH":
        path, options["env"] = "script", {"PATH": f"/nonexistent:{tmp_path}:/usr/bin:/bin"}
    if way == "in the working directory":
        path, options["cwd"] = "./script", str(tmp_path)
    m = concmem.measure([path, "-x", "a b", "*"], **options)
    assert (m.stdout, m.exit.code) == (b"script|-x|a b|*|", 7)
    assert m.command == (path, "-x", "a b", "*")
    assert concmem.measure([executable(tmp_path / "empty", "")]).exit.ok


@pytest.mark.parametrize("kind", UNSTARTABLE)
def test_a_failed_start_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    """Each reason has its own error type, which names the program or folder and can be pickled."""
    expected, exit_code = UNSTARTABLE[kind]
    cmd, options = unstartable(kind, tmp_path)
    with pytest.raises(errors.ConcmemError) as raised:
        concmem.measure(cmd, **options)
    error = raised.value
    assert type(error) is expected
    assert error.exit_code == exit_code
    assert isinstance(error, OSError)
    assert error.errno
    assert error.filename == options.get("cwd", cmd[0])
    message = str(error)
    assert "\n" not in message and len(message) < 500
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is expected
    assert (str(again), again.errno, again.filename) == (message, error.errno, error.filename)


@pytest.mark.parametrize(
    ("cmd", "options"),
    [
        ([], {}),
        (["a\0b"], {}),
        (["/bin/true", "a\0b"], {}),
        ("echo a\0b", {}),
        (["/bin/true"], {"cwd": "/tmp\0x"}),
        (["/bin/true"], {"env": {"A": "b\0c"}}),
        (["/bin/true"], {"env": {"A=B": "c"}}),
        (["/bin/true"], {"interval_s": 0}),
        (["/bin/true"], {"interval_s": -1}),
        (["/bin/true"], {"interval_s": float("nan")}),
        (["/bin/true"], {"interval_s": float("inf")}),
        (["/bin/true"], {"pss_budget": -0.1}),
        (["/bin/true"], {"pss_budget": float("nan")}),
        (["/bin/true"], {"timeout_s": -1}),
        (["/bin/true"], {"timeout_s": float("nan")}),
        (["/bin/true"], {"memory_limit_bytes": -1}),
        (["/bin/true"], {"cgroup_limit_bytes": 0}),
        (["/bin/true"], {"cgroup_limit_bytes": -1}),
        (["/bin/true"], {"cgroup_limit_bytes": 1 << 63}),
        (["/bin/true"], {"cgroup_limit_bytes": float("nan")}),
        (["/bin/true"], {"cgroup_limit_bytes": "50M"}),
        (["/bin/true"], {"cgroup_limit_bytes": True}),
        (["/bin/true"], {"stdout": "a file name"}),
        (["/bin/true"], {"stdout": -7}),
    ],
)
def test_invalid_arguments_are_refused(cmd: Any, options: dict[str, Any]) -> None:
    """An invalid argument raises a ValueError with one sentence before anything runs."""
    with pytest.raises(errors.InvalidRequest) as raised:
        concmem.measure(cmd, **options)
    assert isinstance(raised.value, ValueError)
    assert str(raised.value) and "\n" not in str(raised.value)


def test_failed_launches_leave_nothing_open() -> None:
    """After an error all descriptors are closed."""
    for _ in range(3):
        with pytest.raises(errors.CommandNotFound):
            concmem.measure(["/nonexistent/program"])
    gc.collect()  # so that descriptors of earlier tests are not closed between the two counts
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with pytest.raises(errors.CommandNotFound):
            concmem.measure(["/nonexistent/program"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_large_but_possible_arguments() -> None:
    """Arguments of 1 MiB, each below the kernel's limit of 128 KiB, arrive complete."""
    args = ["x" * 65_535] * 16
    m = concmem.measure([sys.executable, "-c", "import sys; print(sum(map(len, sys.argv[1:])))", *args], stdout=-1)
    assert m.stdout == b"%d\n" % (16 * 65_535)
    assert m.command[3:] == tuple(args)


# How it ends ----------------------------------------------------------------------------------------------------------


def test_every_exit_code() -> None:
    """A target that exits 0 to 255 is reported with that code."""
    for code in range(256):
        m = concmem.measure(["/bin/sh", "-c", f"exit {code}"])
        assert (m.exit.code, m.exit.signal, m.exit.reason, m.exit.status) == (code, None, "exited", code)
        assert m.exit.ok is (code == 0)


DEADLY = sorted(
    set(range(1, 65))
    - {int(getattr(signal, f"SIG{name}")) for name in ("CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH")}
    - {32, 33}  # reserved by the C library
)


def test_every_deadly_signal(tmp_path: Path) -> None:
    """A target that is killed by a signal is reported with that signal and 128 + its number."""
    for number in DEADLY:
        m = concmem.measure(["/bin/sh", "-c", f"ulimit -c 0; kill -{number} $$"], cwd=tmp_path)
        assert (m.exit.code, m.exit.signal, m.exit.reason) == (None, number, "signaled")
        assert m.exit.status == 128 + number
        assert not m.exit.ok


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_exit_code_of_the_command(script: str, status: int) -> None:
    """`concmem run` exits as its target does, 128 + n for signal n."""
    done = subprocess.run([sys.executable, "-m", "concmem", "run", "--", "/bin/sh", "-c", script], capture_output=True)
    assert done.returncode == status, done.stderr


# Arguments that are too long for Linux cannot be passed to the concmem command either.
@pytest.mark.parametrize("kind", [kind for kind in UNSTARTABLE if "3 MiB" not in kind])
def test_exit_code_of_the_command_that_cannot_start(kind: str, tmp_path: Path) -> None:
    """`concmem run` prints one line, and exits with 127 or 126 like a shell, or with 125 for its own errors."""
    cmd, options = unstartable(kind, tmp_path)
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = subprocess.run([sys.executable, "-m", "concmem", "run", *given, "--", *cmd], capture_output=True, text=True)
    assert done.returncode == UNSTARTABLE[kind][1]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_check() -> None:
    """With `check=True`, a code other than 0 raises an error that carries the measurement, also when pickled."""
    assert concmem.measure(["/bin/true"], check=True).exit.ok
    with pytest.raises(errors.CommandFailed) as raised:
        concmem.measure(["/bin/sh", "-c", "exit 9"], check=True)
    assert raised.value.measurement.exit.code == 9
    assert "exit code 9" in str(raised.value)
    assert pickle.loads(pickle.dumps(raised.value)).measurement.exit.code == 9


# What the target gets -------------------------------------------------------------------------------------------------


def output(cmd: Any, **options: Any) -> str:
    m = concmem.measure(cmd, stdout=subprocess.PIPE, **options)
    assert m.exit.ok, m
    assert m.stdout is not None
    return m.stdout.decode()


def test_a_string_goes_to_the_shell() -> None:
    """A string is for /bin/sh -c; a list is executed as it is."""
    assert output("echo $((6 * 7))") == "42\n"
    assert output(["/bin/echo", "$((6 * 7))", "a  b", ""]) == "$((6 * 7)) a  b \n"


def test_environment() -> None:
    """`env` replaces the environment; without it the target gets the host's environment."""
    assert output(["/usr/bin/env"], env={"A": "1", "B": "two words"}).splitlines() == ["A=1", "B=two words"]
    os.environ["CONCMEM_TEST_PASSED_ON"] = "yes"
    try:
        assert output("echo $CONCMEM_TEST_PASSED_ON") == "yes\n"
    finally:
        del os.environ["CONCMEM_TEST_PASSED_ON"]


def test_the_program_is_searched_in_the_targets_path(tmp_path: Path) -> None:
    """A name without a slash is searched in the target's PATH, skipping files that cannot be executed."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "greet").write_text("not executable")
    executable(tmp_path / "second" / "greet", "#!/bin/sh\necho found\n")
    assert output(["greet"], env={"PATH": f"{tmp_path}/first:{tmp_path}/second"}) == "found\n"
    with pytest.raises(errors.CommandNotExecutable):
        concmem.measure(["greet"], env={"PATH": f"{tmp_path}/first"})


def test_working_directory(tmp_path: Path) -> None:
    """The target runs in `cwd`, a path or a string, and a relative program path starts there."""
    executable(tmp_path / "here", "#!/bin/sh\npwd\n")
    assert output(["./here"], cwd=tmp_path) == f"{tmp_path.resolve()}\n"
    assert output(["/bin/pwd"], cwd=str(tmp_path)) == f"{tmp_path.resolve()}\n"
    assert output(["/bin/pwd"]) == f"{Path.cwd()}\n"


def test_standard_streams(tmp_path: Path) -> None:
    """stdin, stdout and stderr accept the same values as subprocess."""
    (tmp_path / "in").write_text("from a file")
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as taken:
        m = concmem.measure("cat; echo oops >&2", stdin=given, stdout=taken.fileno(), stderr=subprocess.PIPE)
    assert (tmp_path / "out").read_text() == "from a file"
    assert (m.stdout, m.stderr) == (None, b"oops\n")
    assert output("echo a; echo b >&2", stderr=subprocess.STDOUT) == "a\nb\n"
    assert output("cat", stdin=subprocess.DEVNULL) == ""


def test_much_output_does_not_block() -> None:
    """A target that writes far more than the size of both pipes is not blocked."""
    m = concmem.measure(
        "head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2; head -c 1000000 /dev/zero",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout_s=30,
    )  # fmt: skip
    assert m.exit.ok
    assert (len(m.stdout or b""), len(m.stderr or b"")) == (4_000_000, 2_000_000)


def test_swapped_streams(tmp_path: Path) -> None:
    """Descriptors 1 and 2 can be swapped."""
    script = (
        "import concmem, sys; concmem.measure('echo to-out; echo to-err >&2', stdout=2, stderr=1)"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("to-err\n", "to-out\n")


def test_closed_standard_streams_of_the_host() -> None:
    """A host without standard streams (a daemon) can measure: concmem opens nothing on descriptors 0 to 2."""
    script = (
        "import os, sys\n"
        "saved = os.dup(1)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "import concmem\n"
        "m = concmem.measure(['/bin/sh', '-c', 'exit 5'], stdin=-3, stdout=-3, stderr=-3)\n"
        "os.write(saved, b'%d' % m.exit.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "5", done.stderr


def test_no_descriptors_are_inherited() -> None:
    """The target has its three streams and no descriptor of the host or the sampler."""
    listing = "ls /proc/self/fd"
    read_end, write_end = os.pipe()
    try:
        expected = subprocess.run(listing, shell=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
        assert output(listing, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) == expected
    finally:
        os.close(read_end)
        os.close(write_end)


def test_the_target_is_a_fresh_process() -> None:
    """Signals, limits, group, session, priority and timer slack are those of the host, not of the sampler."""
    script = (
        "import os, re\n"
        "status = open('/proc/self/status').read()\n"
        "names = 'Sig(?:Blk|Ign|Cgt|Pnd)|ShdPnd|Umask|Cap...|NoNewPrivs|Seccomp'\n"
        "names += '|Cpus_allowed|Uid|Gid|Groups|NSsid|NSpgid'\n"
        "print(*re.findall(rf'^(?:{names}):.*', status, re.M), sep='\\n')\n"
        "for name in ('limits', 'timerslack_ns', 'oom_score_adj', 'coredump_filter'):\n"
        "    print(open(f'/proc/self/{name}').read())\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0))\n"
    )
    # -I: the environment must not make the two runs differ.
    cmd = [sys.executable, "-I", "-S", "-c", script]
    expected = subprocess.run(cmd, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "SigBlk:\t0000000000000000" in expected
    assert output(cmd) == expected


def test_ignored_sigpipe_is_not_passed_on() -> None:
    """Python ignores SIGPIPE, but a target started from Python does not."""
    ignored = re.search(r"^SigIgn:\t(\w+)$", output(["/bin/cat", "/proc/self/status"]), re.M)
    assert ignored is not None
    assert not int(ignored[1], 16) & 1 << signal.SIGPIPE - 1


def test_open_files_limit_of_the_target_is_the_hosts() -> None:
    """The sampler raises its own limit of open files, not the target's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = 512 if soft == resource.RLIM_INFINITY or soft > 512 else soft - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
    try:
        shown = output("ulimit -Sn; ulimit -Hn").split()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert shown == [str(lowered), "unlimited" if hard == resource.RLIM_INFINITY else str(hard)]


def test_cpu_time_and_faults_are_the_targets() -> None:
    """CPU time and page faults are those of the tree, and the wall time that of the root."""
    script = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    m = concmem.measure([sys.executable, "-I", "-S", "-c", script])
    assert 0.4 <= m.user_s + m.system_s <= m.wall_s + 0.05
    assert m.wall_s >= 0.4
    assert m.minor_faults > 100
    idle = concmem.measure(["/bin/sleep", "0.3"])
    assert idle.user_s + idle.system_s < (m.user_s + m.system_s) / 4
    assert idle.wall_s >= 0.3


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_host_without_standard_files(closed: tuple[int, ...], tmp_path: Path) -> None:
    """If the host has closed a descriptor, the target gets /dev/null there, and never a file of concmem."""
    listed = tmp_path / "listed"
    script = f"""
import os, concmem
for number in {closed}:
    os.close(number)
names = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2"
m = concmem.measure(["/bin/sh", "-c", f"readlink {{names}} > {listed}; echo X >&2"])
os._exit(0 if m.exit.ok else 1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    files = listed.read_text().splitlines()
    assert [files[number] for number in closed if number != 1] == ["/dev/null"] * len([n for n in closed if n != 1])
    assert not any("memfd" in file for file in files)


DEBUGGED = """
import concmem, json, subprocess
others = subprocess.Popen(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.05; done"])
m = concmem.measure("sleep 0.5 & echo of the target >&2; wait", stderr=subprocess.PIPE)
others.wait()
print(json.dumps([m.stderr.decode(), [process.pid for process in m.processes]]))
"""


def test_what_the_sampler_does_is_printed_on_request() -> None:
    """With CONCMEM_DEBUG=1 on the standard error of the caller, with file and line; never on that of the target."""
    command = [sys.executable, "-c", DEBUGGED]
    done = subprocess.run(command, env={**os.environ, "CONCMEM_DEBUG": "1"}, capture_output=True, text=True, check=True)
    stderr, pids = json.loads(done.stdout)
    assert stderr == "of the target\n"
    line = re.compile(r"concmem-sampler: csrc/sampler/\w+\.c:\d+: (PID \d+ )?[^\n]+")
    assert all(line.fullmatch(each) for each in done.stderr.splitlines())
    assert len(pids) == 2
    assert ": statm: requested\n" in done.stderr
    assert f": PID {pids[0]} opened: statm\n" in done.stderr
    of = {int(pid) for pid in re.findall(r": PID (\d+) ", done.stderr)}
    assert of == set(pids), "other processes of the machine are not printed"
    for pid in pids:
        assert f": PID {pid} reaped\n" in done.stderr or f": PID {pid} removed\n" in done.stderr
    quiet = subprocess.run(
        command, env={**os.environ, "CONCMEM_DEBUG": "0"}, capture_output=True, text=True, check=True
    )
    assert quiet.stderr == ""
