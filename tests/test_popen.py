"""
`start` and `measure` in the place of `subprocess`: cases of CPython's ``test_subprocess.py``, each with its name there.

What is different by design is listed in ``docs/subprocess.md``.
"""

from __future__ import annotations

import contextlib
import gc
import io
import locale
import os
import pickle
import select
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem import DEVNULL, PIPE, STDOUT, errors
from concmem.testing import known

MIB = 1 << 20
PYTHON = sys.executable
LONG_S = 120.0
"""Longer than any command of these tests takes on a busy machine."""

pytestmark = pytest.mark.usefixtures("no_child_left")


def script(text: str, *args: str) -> list[str]:
    """Return a command that runs a script in a Python without site packages."""
    return [PYTHON, "-I", "-S", "-c", text, *args]


def ready(fd: int) -> None:
    """Wait until a descriptor is readable."""
    assert select.select([fd], [], [], LONG_S)[0] == [fd]


def open_fds() -> dict[int, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return {number: name for number, name in found.items() if "memfd:concmem" not in name and "/fd" not in name}


@pytest.fixture
def no_fd_left() -> Iterator[None]:
    """Check that the test leaves no descriptor open."""
    gc.collect()
    before = open_fds()
    yield
    gc.collect()
    assert open_fds().items() <= before.items()  # a thread of an earlier test may have closed its own


# How the root ended


@pytest.mark.parametrize("code", [0, 1, 47, 255])
def test_returncode(code: int) -> None:
    """`returncode` is the exit code, of the measurement and of what `start` returns."""
    running = concmem.start(["/bin/sh", "-c", f"exit {code}"])
    m = running.wait()
    assert (running.returncode, running.poll(), m.exit.returncode, m.exit.code) == (code, code, code, code)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGTERM, signal.SIGKILL, signal.SIGRTMIN + 1])
def test_returncode_of_a_signal(number: int) -> None:
    """A signal is a negative `returncode` (test_run_abort)."""
    m = concmem.measure(["/bin/sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"])
    assert (m.exit.returncode, m.exit.signal, m.exit.code) == (-number, number, None)


def test_args_and_pid() -> None:
    """`args` is the command as it was given, and `pid` that of the root."""
    command: list[Any] = ["/bin/sh", "-c", "echo $$"]
    running = concmem.start(command, stdout=PIPE)
    assert running.args is command
    assert running.pid == running.root_pid
    m = running.wait()
    assert m.stdout == f"{running.pid}\n".encode()
    assert concmem.start("exit 0").wait().command == "exit 0"


def test_poll() -> None:
    """`poll` returns None while the root runs, and then its code, also when its tree still runs."""
    with concmem.start("read line; sleep 600 & exit 5", stdin=PIPE) as running:
        assert running.poll() is None
        assert running.returncode is None
        assert running.stdin is not None
        running.stdin.write(b"\n")
        running.stdin.close()
        ready(running.root_fd)
        while (code := running.poll()) is None:
            time.sleep(0.001)
        assert code == 5
        assert running.alive() >= 1


def test_repr() -> None:
    """It shows the return code and the command."""
    running = concmem.start(["true"])
    running.wait()
    assert repr(running) == "<Running: returncode: 0 args: ['true']>"


def test_class_getitems() -> None:
    """Types with a parameter can be written in annotations that are evaluated."""
    assert concmem.Running[bytes] is not None
    assert concmem.Measurement[str] is not None


# The end of the root


def test_root_fd_becomes_readable_at_the_end_of_the_root(marked: Any) -> None:
    """It is not readable before, and it is when the rest of the tree still runs."""
    with concmem.start("read line; sleep 600 & exit 3", stdin=PIPE, env=marked.env) as running:
        assert select.select([running.root_fd], [], [], 0)[0] == []
        assert running.stdin is not None
        running.stdin.close()
        ready(running.root_fd)
        assert running.root_fd == running.root_fd
        assert select.select([running], [], [], 0)[0] == []
    assert running.root_fd == -1
    assert running.returncode == 3
    marked.wait_for(0)


def test_root_fd_of_a_root_that_has_ended() -> None:
    """A descriptor that is opened after the root has been reaped is readable at once."""
    with concmem.start("sleep 600 & exit 3") as running:
        while not running.root_ended:
            time.sleep(0.001)
        ready(running.root_fd)


def test_a_tree_that_is_stopped_after_its_root(marked: Any) -> None:
    """A root that ended by itself was not interrupted, however soon `stop` comes."""
    for _ in range(20):
        running = concmem.start("sleep 600 & exit 4", env=marked.env)
        ready(running.root_fd)
        running.stop()
        m = running.wait()
        assert (m.exit.reason, m.exit.code, m.oom) == ("exited", 4, None)
    running = concmem.start("exec sleep 600", env=marked.env)
    running.stop()
    assert running.wait().exit.reason == "interrupted"
    marked.wait_for(0)


def test_until_root(marked: Any) -> None:
    """``until="root"`` ends with the root: the rest is left, or killed."""
    m = concmem.measure("sleep 600 & exit 6", until="root", env=marked.env)
    assert (m.exit.reason, m.exit.code) == ("exited", 6)
    (left,) = m.left_running
    os.kill(left.pid, signal.SIGKILL)
    marked.wait_for(0)
    m = concmem.measure("sleep 600 & exit 6", until="root", leftover="kill", env=marked.env)
    assert (m.exit.reason, m.exit.code, m.left_running) == ("exited", 6, ())
    marked.wait_for(0)
    with pytest.raises(errors.InvalidRequest, match=r"^until must be 'tree' or 'root', not 'end'$"):
        concmem.measure("exit", until="end")  # type: ignore[call-overload]


# Signals, and waiting


@pytest.mark.parametrize(
    ("act", "number"),
    [
        (lambda running: running.terminate(), signal.SIGTERM),
        (lambda running: running.kill(), signal.SIGKILL),
        (lambda running: running.send_signal(signal.SIGUSR1), signal.SIGUSR1),
    ],
    ids=["terminate", "kill", "send_signal"],
)
def test_kill(act: Callable[[Any], None], number: int) -> None:
    """A signal goes to the root, and is its end. A SIGKILL that was sent so is no OOM kill."""
    running = concmem.start(["sleep", "600"])
    act(running)
    m = running.wait()
    assert (m.exit.signal, m.exit.reason, m.oom) == (number, "signaled", None)
    act(running)  # test_kill_dead: it does nothing


def test_signals_to_a_root_that_has_ended() -> None:
    """They do nothing, also while the rest of the tree runs (test_send_signal_race)."""
    with concmem.start("sleep 600 & exit 0") as running:
        ready(running.root_fd)
        running.terminate()
        while not running.root_ended:
            time.sleep(0.001)
        running.kill()
        assert running.poll() == 0


def test_an_invalid_signal() -> None:
    """It is an OSError, as of `Popen.send_signal`."""
    with concmem.start(["sleep", "600"]) as running, pytest.raises(OSError, match="Invalid argument"):
        running.send_signal(1000)


def test_stopped() -> None:
    """A root that was stopped can be killed."""
    running = concmem.start(["sleep", "600"])
    running.send_signal(signal.SIGSTOP)
    running.kill()
    assert running.wait().exit.returncode == -signal.SIGKILL


def test_wait_timeout() -> None:
    """The error is that of `subprocess`, and the command goes on."""
    running = concmem.start("read line; exit 7", stdin=PIPE)
    assert running.stdin is not None
    for expired in (subprocess.TimeoutExpired, concmem.TimeoutExpired):
        with pytest.raises(expired) as raised:
            running.wait(timeout=0.01)
        assert (raised.value.cmd, raised.value.timeout) == (running.args, 0.01)
    assert str(raised.value) == "the command still runs after 10.0 ms"
    assert isinstance(raised.value, concmem.TimeoutExpired) and raised.value.measurement is None
    assert running.poll() is None
    running.stdin.close()
    assert running.wait(timeout=LONG_S).exit.code == 7
    assert running.wait(timeout=0) is running.wait()


def test_threadsafe_wait() -> None:
    """Any number of threads may wait, and all get the same measurement."""
    running = concmem.start("read line; exit 37", stdin=PIPE)
    assert running.stdin is not None
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(running.wait())) for _ in range(5)]
    for thread in threads:
        thread.start()
    running.stdin.close()
    for thread in threads:
        thread.join(LONG_S)
    assert len(results) == 5
    assert all(each is results[0] for each in results)
    assert results[0].exit.code == 37


def test_a_timeout_while_another_thread_waits() -> None:
    """It holds, for `wait` and for `communicate`."""
    running = concmem.start("read line; exit 3", stdin=PIPE)
    assert running.stdin is not None
    thread = threading.Thread(target=running.wait)
    thread.start()
    while running._waiting.acquire(blocking=False):  # it does not wait yet
        running._waiting.release()
        time.sleep(0.001)
    for act in (running.wait, running.communicate):
        with pytest.raises(subprocess.TimeoutExpired):
            act(timeout=0.05)
    running.stdin.close()
    thread.join(LONG_S)
    assert running.wait(timeout=LONG_S).exit.code == 3


# Errors of the start


def test_file_not_found_includes_filename(no_fd_left: None) -> None:
    """`start` raises it, not `wait`, and leaves nothing open (test_leaking_fds_on_error)."""
    for _ in range(20):
        with pytest.raises(FileNotFoundError) as raised:
            concmem.start(["/opt/nonexistent_binary", "arg"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert raised.value.filename == "/opt/nonexistent_binary"


@pytest.mark.parametrize(
    ("command", "options", "error"),
    [
        (["/"], {}, PermissionError),
        (["nonexistent-program"], {}, FileNotFoundError),
        (["true"], {"cwd": "/some/nonexistent/directory"}, NotADirectoryError),
        (["true", "\0"], {}, ValueError),
        (["true"], {"env": {"FRUIT\0VEGETABLE": "cabbage"}}, ValueError),
        (["true"], {"env": {"FRUIT=ORANGE": "lemon"}}, ValueError),
        ([], {}, ValueError),
    ],
    ids=repr,
)
def test_exceptions(command: list[str], options: Any, error: type[Exception], no_fd_left: None) -> None:
    """test_exception_cwd, test_exception_bad_executable, test_invalid_cmd, test_invalid_env."""
    for function in (concmem.start, concmem.measure):
        with pytest.raises(error) as raised:
            function(command, **options)
        assert isinstance(raised.value, concmem.ConcmemError)


# Pipes


def test_stdin_pipe() -> None:
    """What is written to `stdin` is read by the command; closing it is the end of its input."""
    running = concmem.start(["cat"], stdin=PIPE, stdout=PIPE)
    assert running.stdin is not None
    running.stdin.write(b"pear")
    running.stdin.close()
    assert running.wait().stdout == b"pear"


def test_stdout_pipe() -> None:
    """`stdout` streams: what was written can be read before the command ends, and the measurement does not have it."""
    running = concmem.start("echo first; read line; echo $line", stdin=PIPE, stdout=PIPE)
    assert running.stdout is not None and running.stdin is not None
    assert running.stdout.readline() == b"first\n"
    running.stdin.write(b"second\n")
    running.stdin.close()
    assert running.stdout.read() == b"second\n"
    m = running.wait()
    assert (m.stdout, m.stderr, running.stderr) == (None, None, None)
    running.stdout.close()
    running.stdout.close()


def test_what_was_not_read_can_be_read_after_the_end() -> None:
    """As of `Popen`, the file object lives longer than the command."""
    running = concmem.start("echo to-out; echo to-err >&2", stdout=PIPE, stderr=PIPE)
    stdout, stderr = running.stdout, running.stderr
    assert running.wait().exit.ok
    assert stdout is not None and stderr is not None
    assert (stdout.read(), stderr.read()) == (b"to-out\n", b"to-err\n")


def test_select_unbuffered() -> None:
    """The file object has the descriptor of the pipe, for selectors."""
    with concmem.start("printf apple; sleep 600", stdout=PIPE) as running:
        assert running.stdout is not None
        ready(running.stdout.fileno())
        assert os.read(running.stdout.fileno(), 5) == b"apple"


@pytest.mark.parametrize("first", ["fileno", "root_fd", "root_ended", "poll"])
def test_output_that_was_collected_first_is_streamed_too(first: str) -> None:
    """Everything comes through the file object and its descriptor, also what a call before had to collect."""
    with concmem.start(f"head -c {1 * MIB} /dev/zero; printf end; read line", stdin=PIPE, stdout=PIPE) as running:
        name = getattr(running, first)
        _ = name() if callable(name) else name
        collected = running._pipes.outputs["stdout"]
        until_s = time.monotonic() + LONG_S
        while collected._content.tell() < MIB // 2:
            assert time.monotonic() < until_s
            time.sleep(0.001)
        assert running.stdout is not None
        ready(running.stdout.fileno())
        assert running.stdout.read(MIB + 3) == bytes(MIB) + b"end"
        assert running.stdin is not None
        running.stdin.close()
        assert running.stdout.read() == b""
        assert running.wait().stdout is None


@pytest.mark.parametrize("wait", ["fileno", "root_fd", "poll", "root_ended", "alive"])
def test_a_command_that_writes_more_than_a_pipe_holds_is_not_blocked(wait: str) -> None:
    """Whatever the caller waits for before `wait`, the output is collected."""
    running = concmem.start("head -c 3000000 /dev/zero; echo oops >&2", stdout=PIPE, stderr=PIPE)
    until_s = time.monotonic() + LONG_S
    if wait == "fileno":
        with selectors.DefaultSelector() as selector:
            selector.register(running, selectors.EVENT_READ)
            assert selector.select(LONG_S)
    elif wait == "root_fd":
        ready(running.root_fd)
    elif wait == "poll":
        while running.poll() is None:
            assert time.monotonic() < until_s
            time.sleep(0.001)
    else:
        while not running.root_ended:
            running.alive()
            assert time.monotonic() < until_s
            time.sleep(0.001)
    m = running.wait(timeout=LONG_S)
    assert m.stdout is not None and len(m.stdout) == 3_000_000
    assert m.stderr == b"oops\n"


def test_a_thread_that_collects_ends_with_a_command_that_is_dropped(marked: Any) -> None:
    """A command that nothing refers to any more ends, although its output is collected."""
    running = concmem.start("yes; sleep 600", stdout=PIPE, max_output_bytes=0, env=marked.env)
    running.fileno()
    thread = running._pipes._thread
    assert thread is not None
    with pytest.warns(ResourceWarning, match="was started, but wait"):
        del running
        gc.collect()
    thread.join(LONG_S)
    assert not thread.is_alive()
    marked.wait_for(0)


def test_both_streams_are_read_at_once() -> None:
    """A command that writes much to both streams and reads much is not blocked (test_communicate_pipe_buf)."""
    text = "import sys; d = sys.stdin.buffer.read(); sys.stderr.buffer.write(d); sys.stdout.buffer.write(d)"
    given = b"abc" * 300_000
    running = concmem.start(script(text), stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert running.communicate(given) == (given, given)
    m = concmem.measure(script(text), input=given, stdout=PIPE, stderr=PIPE)
    assert (m.stdout, m.stderr) == (given, given)


def test_communicate(no_fd_left: None) -> None:
    """It writes the input, and returns both outputs; the measurement has the same objects."""
    text = "import sys; sys.stderr.write('pineapple'); sys.stdout.write(sys.stdin.read())"
    with concmem.start(script(text), stdin=PIPE, stdout=PIPE, stderr=PIPE) as running:
        stdout, stderr = running.communicate(b"banana")
        assert (stdout, stderr) == (b"banana", b"pineapple")
        m = running.wait()
        assert m.stdout is stdout and m.stderr is stderr
        assert running.communicate() == (stdout, stderr)


def test_communicate_returns() -> None:
    """Without pipes it returns None for each."""
    assert concmem.start(["true"]).communicate() == (None, None)


def test_communicate_timeout() -> None:
    """After a timeout it can be called again, and no output is lost."""
    text = (
        "import sys; sys.stderr.write('pineapple\\n'); sys.stderr.flush(); d = sys.stdin.read()\n"
        "sys.stderr.write('pear\\n'); sys.stdout.write(d)"
    )
    running = concmem.start([*script(text)], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    hold = running.stdin
    assert hold is not None
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(timeout=0.3)
    stdout, stderr = running.communicate("banana")
    assert (stdout, stderr) == ("banana", "pineapple\npear\n")


def test_communicate_timeout_large_output() -> None:
    """Output of many timeouts is joined."""
    text = "import sys, time\nfor _ in range(4): sys.stdout.write('a' * 65536); sys.stdout.flush(); time.sleep(0.05)"
    running = concmem.start(script(text), stdout=PIPE)
    expired = 0
    while True:
        try:
            stdout, _ = running.communicate(timeout=0.01)
        except subprocess.TimeoutExpired as error:
            expired += 1
            assert error.output is not None
            continue
        break
    assert expired > 0
    assert stdout == b"a" * 65536 * 4


def test_writes_before_communicate() -> None:
    """What was written to `stdin` before comes first."""
    running = concmem.start(["cat"], stdin=PIPE, stdout=PIPE)
    assert running.stdin is not None
    running.stdin.write(b"banana")
    assert running.communicate(b"split") == (b"bananasplit", None)


def test_input_can_be_given_once() -> None:
    """A second input would be lost, and input needs a PIPE."""
    with concmem.start("cat; sleep 600", stdin=PIPE, stdout=PIPE) as running:
        with pytest.raises(subprocess.TimeoutExpired):
            running.communicate(b"a", timeout=0.01)
        with pytest.raises(ValueError, match="input must not be given again"):
            running.communicate(b"b")
    with concmem.start(["sleep", "600"]) as running, pytest.raises(ValueError, match="standard input is not a PIPE"):
        running.communicate(b"a")


@pytest.mark.parametrize("given", [None, b"x" * (1 << 20)], ids=["none", "much"])
def test_communicate_epipe(given: bytes | None) -> None:
    """A command that ends without reading its input is no error (test_communicate_epipe_only_stdin, issue 23400)."""
    assert concmem.start(["true"], stdin=PIPE, stdout=PIPE).communicate(given) == (b"", None)
    assert concmem.measure(["true"], input=given, stdout=PIPE).stdout == b""


def test_a_default_sigpipe_of_the_host_does_not_kill_it(host_python: Any) -> None:
    """Python ignores SIGPIPE. A host that does not survives a command that does not read."""
    code = (
        "import signal, concmem\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "m = concmem.measure(['true'], input=bytes(1 << 20))\n"
        "r = concmem.start(['true'], stdin=-1)\nr.stdin\nr.wait()\n"
        "try: r.stdin.write(bytes(1 << 20)); r.stdin.flush()\nexcept BrokenPipeError: pass\n"
        "print(m.exit.code, flush=True)\nimport os; os._exit(0)"
    )
    assert host_python(code) == 0


def test_communicate_repeated_call_after_stdout_close() -> None:
    """Closing a file object and calling it again gives what was collected, here nothing."""
    running = concmem.start("exit 0", stdout=PIPE)
    assert running.stdout is not None
    running.stdout.close()
    running.wait()
    assert running.communicate()[0] is None


def test_input_that_nothing_writes_is_closed() -> None:
    """A command that reads its input to the end does not wait for ever for a caller that does not write."""
    assert concmem.measure(["cat"], stdin=PIPE, stdout=PIPE).stdout == b""
    assert concmem.start(["cat"], stdin=PIPE, stdout=PIPE).wait().stdout == b""


def test_input_and_stdin() -> None:
    """Only one can be given (test_check_output_stdin_with_input_arg), and input must fit (test_communicate_errors)."""
    with pytest.raises(ValueError, match=r"^stdin and input must not both be given$"):
        concmem.measure(["cat"], stdin=DEVNULL, input=b"")
    with pytest.raises(ValueError, match=r"^input must be bytes, or a str with text=True, not 'text'$"):
        concmem.measure(["cat"], input="text")  # type: ignore[call-overload]
    for buffer in (bytearray(b"ab"), memoryview(b"ab"), b"ab"):
        assert concmem.measure(["cat"], input=buffer, stdout=PIPE).stdout == b"ab"


def test_stdout_stderr_pipe() -> None:
    """STDOUT joins both in their order."""
    m = concmem.measure("printf apple; printf orange >&2", stdout=PIPE, stderr=STDOUT)
    assert (m.stdout, m.stderr) == (b"appleorange", None)


# Text


@pytest.mark.parametrize("options", [{"text": True}, {"encoding": "utf-8"}, {"errors": "replace"}], ids=repr)
def test_universal_newlines_and_text(options: Any) -> None:
    """Each of the three gives text, with newlines alone (test_universal_newlines_communicate)."""
    written = r"printf 'line1\nline2\rline3\r\nline4'"
    m = concmem.measure(written, stdout=PIPE, **options)
    assert m.stdout == "line1\nline2\nline3\nline4"
    running = concmem.start(f"cat >&2; {written}", stdin=PIPE, stdout=PIPE, stderr=PIPE, **options)
    assert isinstance(running.stdin, io.TextIOWrapper) and isinstance(running.stdout, io.TextIOWrapper)
    assert running.stdin.encoding == options.get("encoding", locale.getpreferredencoding(False))
    running.stdin.write("given\n")
    running.stdin.close()
    assert running.stdout.readlines() == ["line1\n", "line2\n", "line3\n", "line4"]
    assert running.communicate() == ("", "given\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
def test_universal_newlines_communicate_encodings(encoding: str) -> None:
    """Any encoding, also for input."""
    m = concmem.measure(["cat"], input="1\r\n2\r3\n4é", stdout=PIPE, encoding=encoding)
    assert m.stdout == "1\n2\n3\n4é"


@pytest.mark.parametrize(
    ("handler", "expected"), [("ignore", ""), ("replace", "\ufffd\ufffd"), ("backslashreplace", "\\x80\\x80")]
)
def test_communicate_errors(handler: str, expected: str) -> None:
    """The error handler decides; without one it is a UnicodeDecodeError."""
    m = concmem.measure(r"printf '\200\200'", stdout=PIPE, encoding="utf-8", errors=handler)
    assert m.stdout == expected
    running = concmem.start(r"printf '\200\200'", stdout=PIPE, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            running.wait()
    for name in ("encoding", "errors"):
        with pytest.raises(errors.InvalidRequest, match=f"^{name} must be the name of"):
            concmem.measure(["true"], **{name: "nonsense"})  # type: ignore[call-overload]


def test_text_is_stored() -> None:
    """Text and bytes survive `to_dict`."""
    for options in ({"text": True}, {}):
        m = concmem.measure("echo ab; echo é >&2", stdout=PIPE, stderr=PIPE, **options)  # type: ignore[call-overload]
        again = concmem.Measurement.from_dict(m.to_dict())
        assert (again.stdout, again.stderr) == (m.stdout, m.stderr)
        assert type(again.stdout) is type(m.stdout)


# How much is kept


def test_max_output_bytes() -> None:
    """More is dropped and counted, of each stream by itself. The command is not blocked."""
    m = concmem.measure(
        "head -c 1000000 /dev/zero; echo 12345 >&2", stdout=PIPE, stderr=PIPE, max_output_bytes=1000, timeout_s=LONG_S
    )
    assert (m.exit.ok, m.stdout, m.stderr) == (True, bytes(1000), b"12345\n")
    assert (m.stdout_dropped_bytes, m.stderr_dropped_bytes) == (999_000, 0)
    assert concmem.Measurement.from_dict(m.to_dict()).stdout_dropped_bytes == 999_000
    none = concmem.measure("echo 12345", stdout=PIPE, max_output_bytes=0)
    assert (none.stdout, none.stdout_dropped_bytes) == (b"", 6)


def test_text_that_is_cut_within_a_character() -> None:
    """The incomplete character is left out."""
    m = concmem.measure("printf aéé", stdout=PIPE, max_output_bytes=4, encoding="utf-8")
    assert (m.stdout, m.stdout_dropped_bytes) == ("aé", 1)


ONCE = """
import concmem, json, pathlib
m = concmem.measure("head -c %d /dev/zero", stdout=concmem.PIPE)
# Not ru_maxrss, which includes the size of the process that started this one.
peak_kib = pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([len(m.stdout), int(peak_kib) * 1024]))
"""


def test_output_is_held_once(host_python: Any) -> None:
    """The host of a command that writes 256 MiB does not need twice as much."""
    size = 256 * MIB
    got, peak_bytes = host_python(ONCE % size)
    assert got == size
    assert peak_bytes < 1.7 * size


# Errors of check=True


def test_check() -> None:
    """CommandFailed is a CalledProcessError with its attributes."""
    with pytest.raises(subprocess.CalledProcessError) as raised:
        concmem.measure(["/bin/sh", "-c", "echo out; echo err >&2; exit 47"], check=True, stdout=PIPE, stderr=PIPE)
    error = raised.value
    assert isinstance(error, concmem.CommandFailed) and isinstance(error, errors.CommandFailed)
    assert (error.returncode, error.cmd[0], error.output, error.stdout, error.stderr) == (
        47, "/bin/sh", b"out\n", b"out\n", b"err\n"
    )  # fmt: skip
    assert error.measurement.exit.code == 47
    assert str(error) == "the command ended with exit code 47"
    with pytest.raises(subprocess.CalledProcessError) as raised:
        concmem.measure("kill -9 $$", check=True)
    assert raised.value.returncode == -9
    assert concmem.measure("exit 0", check=True).exit.ok  # test_check_zero


def test_timeout() -> None:
    """A timeout with ``check=True`` is a TimeoutExpired with the output and the measurement, and no CommandFailed."""
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        concmem.measure("echo out; sleep 600", check=True, timeout_s=0.3, stdout=PIPE, text=True)
    error = raised.value
    assert isinstance(error, concmem.TimeoutExpired) and not isinstance(error, subprocess.CalledProcessError)
    assert (error.cmd, error.timeout, error.output) == ("echo out; sleep 600", 0.3, "out\n")
    assert error.measurement is not None and error.measurement.exit.reason == "timeout"
    assert str(error) == "the command was ended after 300.0 ms"


def test_errors_can_be_pickled() -> None:
    """With all that they carry."""
    m = concmem.measure("echo out; exit 3", stdout=PIPE)
    failed = pickle.loads(pickle.dumps(concmem.CommandFailed(m)))
    assert (failed.returncode, failed.cmd, failed.output, failed.measurement) == (3, "echo out; exit 3", b"out\n", m)
    expired = pickle.loads(pickle.dumps(concmem.TimeoutExpired(["x"], 1.5, b"o", measurement=m)))
    assert (expired.cmd, expired.timeout, expired.output, expired.measurement) == (["x"], 1.5, b"o", m)


# What is left


def test_no_leaking(no_fd_left: None) -> None:
    """Many commands with all pipes leave no descriptor and no thread (test_communicate_pipe_fd_leak)."""
    threads = threading.active_count()
    for number in range(60):
        running = concmem.start(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
        if number % 3 == 0:
            running.fileno()
        if number % 2:
            assert running.stdout is not None
        assert running.communicate(b"spam")[0] == b"spam"
        running.wait()
    del running
    gc.collect()
    assert threading.active_count() <= threads


def test_the_context_manager_closes_the_file_objects(no_fd_left: None) -> None:
    """It kills the tree, and closes what was opened, also when input is left unwritten."""
    with concmem.start(["sleep", "600"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as running:
        files = [running.stdin, running.stdout, running.stderr]
        assert running.stdin is not None
        running.stdin.write(b"never read")
    assert all(file is not None and file.closed for file in files)


def test_a_file_object_of_a_closed_pipe_reads_no_other_file(tmp_path: Path) -> None:
    """After `communicate` the number of the pipe can be another file's, which the file object must not touch."""
    running = concmem.start("echo a", stdout=PIPE)
    stdout = running.stdout
    assert stdout is not None
    number = stdout.fileno()
    assert running.communicate()[0] == b"a\n"
    (tmp_path / "other").write_text("secret")
    other = os.open(tmp_path / "other", os.O_RDONLY)
    try:
        os.dup2(other, number)
        with pytest.raises(ValueError, match="closed file"):
            stdout.read()
        stdout.close()
        assert os.read(number, 6) == b"secret"
    finally:
        for fd in {other, number}:
            os.close(fd)


KEPT = """
import concmem, gc, json, warnings
kept = []

def begin():
    running = concmem.start(["sleep", "600"])
    running.itself = running  # a cycle, in which the memory is freed before the object
    warnings._showwarnmsg_impl = kept.append
warnings.simplefilter("always")
begin()
gc.collect()
(message,) = kept
running = message.source
print(json.dumps([running.returncode, running.alive(), running.now(), running.root_fd, repr(running)]))
"""


def test_a_dropped_command_that_a_hook_keeps(host_python: Any) -> None:
    """An object that a warning resurrects has no memory any more, and does not read it."""
    assert host_python(KEPT) == [None, 0, None, -1, "<Running: returncode: None args: ['sleep', '600']>"]


# Readings while the command runs


def test_now() -> None:
    """The sampler's last reading: the sum over the tree, and its largest processes."""
    hold = [str(word) for word in known("hold", 30 * MIB, 1, 600)]
    with concmem.start(["/bin/sh", "-c", '"$@" >/dev/null & "$@" >/dev/null & wait', "sh", *hold]) as running:
        until_s = time.monotonic() + LONG_S
        while (reading := running.now()) is None or reading.rss_bytes < 60 * MIB or reading.pss_bytes is None:
            assert time.monotonic() < until_s
            time.sleep(0.005)
        assert reading.alive == 3
        assert 60 * MIB <= reading.rss_bytes < 80 * MIB
        names = [process.name for process in reading.largest]
        assert names[:2] == ["hold", "hold"] and len(names) == 3
        sizes = [process.rss_bytes for process in reading.largest]
        assert sizes == sorted(sizes, reverse=True) and sum(sizes) == reading.rss_bytes
        assert running.pid in [process.pid for process in reading.largest]
        assert reading.pss_t_s is not None and 0 < reading.pss_t_s <= reading.t_s
    assert running.now() is None


def test_now_of_many_processes() -> None:
    """The five largest are listed, in order."""
    hold = " & ".join(f"{shlex.join(known('hold', size * MIB, 1, 600))} >/dev/null" for size in range(2, 16, 2))
    with concmem.start(f"{hold} & wait") as running:
        until_s = time.monotonic() + LONG_S
        mib: list[int] = []
        while [size - size % 2 for size in mib] != [14, 12, 10, 8, 6]:  # each has the pages of its program, too
            assert time.monotonic() < until_s, mib
            time.sleep(0.005)
            reading = running.now()
            mib = [] if reading is None else [process.rss_bytes // MIB for process in reading.largest]
        assert reading is not None and reading.alive == 8


def test_readings() -> None:
    """They come every so often until the measurement ends, and the output is collected in the meantime."""
    running = concmem.start("head -c 1000000 /dev/zero; sleep 0.3", stdout=PIPE)
    read = list(running.readings(every_s=0.02))
    m = running.wait()
    assert m.exit.ok and m.stdout == bytes(1_000_000)
    assert read and all(0 < each.t_s <= m.tree_wall_s and each.alive >= 1 for each in read)
    assert [each.t_s for each in read] == sorted(each.t_s for each in read)
    assert list(running.readings(every_s=0.02)) == []


def test_readings_are_not_torn() -> None:
    """A reading is one tick's, whatever the sampler writes at that moment: its parts agree."""
    with concmem.start(known("ramp", 200 * MIB, 1.5), stdout=DEVNULL, interval_s=0.0002) as running:
        seen = 0
        while not running.root_ended:
            reading = running.now()
            if reading is not None and reading.alive == 1:
                assert [each.rss_bytes for each in reading.largest] == [reading.rss_bytes]
                seen += 1
        assert seen > 0
