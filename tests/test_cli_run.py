"""``concmem run`` as a process: standard streams, signals and exit status."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import concmem
from concmem.errors import InvalidRequest
from concmem.units import parse_seconds

NEEDED = " needed "
ENDED = " until it was ended by "
"""Words of the headline: of a command that ended by itself, and of one that was ended."""

Done = subprocess.CompletedProcess[str]


def argv(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "concmem", "run", *map(str, arguments)]


def run(*arguments: str | Path, **environment: str) -> Done:
    """Run the command with these arguments and additional environment variables."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        argv(*arguments), env=kept | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


def assert_one_sentence(done: Done, *words: str) -> None:
    """Assert that the error is one line that contains the words, and no traceback."""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("concmem: ")
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("code", [0, 1, 2, 42, 124, 125, 126, 127, 128, 255])
def test_ends_with_the_status_of_the_command(code: int) -> None:
    """The exit status is that of the command."""
    done = run("-q", "--", "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGINT", "SIGSEGV", "SIGUSR1"])
def test_a_signal_is_shown_as_128_and_its_number(name: str) -> None:
    """If signal n ended the command, the status is 128 + n, as in a shell. The figures are printed."""
    done = run("--", "sh", "-c", f"ulimit -c 0; kill -{name[3:]} $$")
    assert done.returncode == 128 + signal.Signals[name]
    assert ENDED in done.stderr
    assert name in done.stderr


def test_standard_output_is_the_command_s() -> None:
    """The command keeps its output; the figures go to standard error."""
    done = run("printf", "%s", "hello")
    assert done.stdout == "hello"
    assert done.stderr.lstrip().startswith("printf needed ")


def test_every_figure_is_in_the_table() -> None:
    """The table has each figure of a measurement by its name."""
    done = run("true")
    m = concmem.measure(["true"])
    for name in m.figures:
        if name == "tree_peak_swap" and not m.host.swap_bytes:
            continue  # not shown on a machine without swap
        assert f"\n{name} " in done.stderr


def test_no_shell_reads_the_command() -> None:
    """One argument with spaces is the name of a program, not a shell command."""
    done = run("echo $HOME")
    assert done.returncode == 127
    assert_one_sentence(done, "echo $HOME")


def test_not_found(tmp_path: Path) -> None:
    """The status is 127, and the error has the name."""
    for name in ("no-such-program", str(tmp_path / "absent")):
        done = run(name)
        assert done.returncode == 127
        assert_one_sentence(done, name)


def test_not_executable(tmp_path: Path) -> None:
    """The status is 126 for a folder and for a file without execute permission."""
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for path in (tmp_path, plain):
        done = run(path)
        assert done.returncode == 126
        assert_one_sentence(done, str(path))


@pytest.mark.parametrize(
    "options",
    [
        ["--interval", "soon"],
        ["--interval", "0"],
        ["--interval", "99us"],
        ["--cpu-budget", "300%"],
        ["--timeout", "-1"],
        ["--timeout", "0s"],
        ["--memory-limit", "9" * 400],
        ["--memory-limit", "plenty"],
        ["--cgroup-limit", "plenty"],
        ["--cgroup-limit", "0"],
        ["--cgroup-limit", "-1M"],
        ["--timeline", "rows.txt"],
        ["--plot", "chart.gif"],
        ["--json", "no/such/folder/figures.json"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_a_wrong_option_stops_before_anything_runs(options: Sequence[str], tmp_path: Path) -> None:
    """The status is 2, with one sentence, and the command is not started."""
    ran = tmp_path / "ran"
    done = run(*options, "--", "touch", ran)
    assert done.returncode == 2
    assert_one_sentence(done, options[0])
    assert not ran.exists()


def test_a_number_out_of_range_is_refused_in_the_words_of_the_command() -> None:
    """The option and the units are those of the command, not those of Python."""
    for option, value, allowed in (
        ("--interval", "0", "100us and 1h"),
        ("--cpu-budget", "300%", "0.1% and 100%"),
        ("--timeout", "0s", "1us and 1000000000s"),
        ("--memory-limit", "0", "1 and 4194304T"),
    ):
        wrong = f"Invalid value for '{option}': '{value}' is not between {allowed}"
        assert run(f"{option}={value}", "true").stderr == f"concmem: {wrong} (see 'concmem run --help')\n"
    assert run("-q", "--interval", "100us", "true").returncode == 0


def test_an_error_has_the_name_of_the_command_once() -> None:
    """Also if concmem's own memory cannot be mapped."""
    command = ["sh", "-c", 'ulimit -f 1 && exec "$@"', "sh", *argv("true")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == 125
    assert done.stderr.startswith("concmem: cannot map ") and done.stderr.endswith(" (ulimit -f)\n")


def test_the_help_fits_a_terminal() -> None:
    """No line is longer than 80 columns, and every option that limits memory is in it."""
    lines = run("--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(f" {name} " in line for line in lines) for name in ("--memory-limit", "--cgroup-limit"))


def test_without_a_command() -> None:
    """No command is a usage error."""
    done = run()
    assert done.returncode == 2
    assert_one_sentence(done, "CMD")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: needs an ordinary user")
def test_a_file_that_cannot_be_written_stops_before_anything_runs(tmp_path: Path) -> None:
    """An output file that cannot be written is an error before the command runs, not an hour later."""
    folder, ran = tmp_path / "folder", tmp_path / "ran"
    folder.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    done = run("--json", folder / "figures.json", "--", "touch", ran)
    assert done.returncode == 2
    assert not ran.exists()


def test_json_is_the_measurement(tmp_path: Path) -> None:
    """--json writes `Measurement.to_dict`, to a file or to standard output."""
    path = tmp_path / "figures.json"
    assert run("-q", "--json", path, "--", "sh", "-c", "exit 3").returncode == 3
    measurement = concmem.Measurement.from_dict(json.loads(path.read_text()))
    assert measurement.exit.code == 3
    assert measurement.peak.bytes
    done = run("--quiet", "--json", "-", "--", "true")
    assert concmem.Measurement.from_dict(json.loads(done.stdout)).command == ("true",)


def test_timeline_as_csv(tmp_path: Path) -> None:
    """A CSV file has column names with units, ascending times, and the largest RSS of the timeline."""
    path = tmp_path / "rows.csv"
    assert run("-q", "--timeline", path, "--", "sleep", "0.2").returncode == 0
    head, *rows = (line.split(",") for line in path.read_text().splitlines())
    assert {"t_s", "rss_bytes"} <= set(head)
    times = [float(row[head.index("t_s")]) for row in rows]
    assert len(times) > 5
    assert times == sorted(times)
    assert max(int(row[head.index("rss_bytes")]) for row in rows) > 100_000


def test_timeline_as_npz(tmp_path: Path) -> None:
    """An NPZ file has exactly the given name, and can be read."""
    import numpy

    path = tmp_path / "rows.npz"
    assert run("-q", "--timeline", path, "--", "sleep", "0.1").returncode == 0
    with numpy.load(path) as stored:
        assert stored.files


@pytest.mark.parametrize(("ending", "magic"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".html", b"<!DOCTYPE html")])
def test_plot(ending: str, magic: bytes, tmp_path: Path) -> None:
    """Each format of the chart is written. The HTML page loads nothing from the network."""
    pytest.importorskip("altair", reason="Altair is missing: pip install 'concmem[report]'")
    path = tmp_path / f"chart{ending}"
    done = run("-q", "--plot", path, "--", "sleep", "0.1")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().lstrip().startswith(magic)
    if ending == ".html":
        assert "https://cdn" not in path.read_text()


def test_plot_without_the_extra_stops_before_anything_runs(tmp_path: Path) -> None:
    """Without Altair, one sentence names the package to install, before the command is started."""
    (tmp_path / "altair.py").write_text("raise ImportError('blocked', name='altair')\n")
    ran = tmp_path / "ran"
    search = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = run("--plot", tmp_path / "c.svg", "--", "touch", ran, PYTHONPATH=search)
    assert done.returncode == 125
    assert_one_sentence(done, "concmem[report]")
    assert not ran.exists()


def test_timeout() -> None:
    """The status is 124, as with timeout(1), soon after the time is up. The figures are printed."""
    start = time.monotonic()
    done = run("--timeout", "300ms", "--", "sh", "-c", "sleep 300; true")
    assert time.monotonic() - start < 250
    assert done.returncode == 124
    assert ENDED in done.stderr
    assert "timed out" in done.stderr


def test_memory_limit() -> None:
    """A tree above the limit is killed, even after its root has ended. The status is 137, as for the OOM killer."""
    hog = "x = bytearray(200 << 20); import time; time.sleep(300)"
    for command in ([sys.executable, "-c", hog], ["sh", "-c", f"{sys.executable} -c '{hog}' & exit 0"]):
        done = run("--memory-limit", "64M", "--", *command)
        assert done.returncode == 137
        assert "over the memory limit" in done.stderr


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("$C -- sh -c 'exit 3' 2>&-", 3),
        ("$C -- sh -c 'exit 3' >&- 2>&- <&-", 3),
        ("$C -q --json - -- sh -c 'exit 3' >&-", 125),
        ("$C -- sh -c 'exit 3' 2> /dev/full", 3),
        ("exec 9> >(exec true); wait $!; $C -- sh -c 'exit 3' 2>&9", 3),
        ("exec 9> >(exec true); wait $!; $C -q --json - -- sh -c 'exit 3' >&9", 3),
        ("$C -q --json - -- sh -c 'exit 3' > /dev/full", 125),
        ("$C -q --json /dev/full -- sh -c 'exit 3'", 125),
        ("$C -- true 2>&-", 0),
        ("$C -q --json - -- true >&-", 125),
        ("$C -- true 2> /dev/full", 125),
        ("exec 9> >(exec true); wait $!; $C -- true 2>&9", 125),
        ("exec 9> >(exec true); wait $!; $C -q --json - -- true >&9", 125),
        ("$C -q --json - -- true > /dev/full", 125),
        ("$C -q --json /dev/full -- true", 125),
        ("$C --help > /dev/full", 125),
    ],
)
def test_streams_that_cannot_be_written(shell: str, code: int) -> None:
    """
    A closed standard error changes nothing. Lost output sets the exit status, unless the command itself has failed. A
    requested file that was not written is always an error.
    """
    command = ["bash", "-c", f"C='{sys.executable} -m concmem run'; {shell}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "CONCMEM_DEBUG" not in done.stderr
    if code == 125 and "2>" not in shell:
        closed = "Bad file descriptor" if ">&-" in shell else "Broken pipe"
        why = "No space left on device" if "/dev/full" in shell else closed
        assert_one_sentence(done, why, "/dev/full" if "/dev/full --" in shell else "standard output")


@pytest.mark.parametrize("arguments", ["toolchains", "doctor --json", "report {study}", "bench --help"])
def test_other_commands_report_lost_output(arguments: str, tmp_path: Path) -> None:
    """If standard output cannot be written, one sentence gives the reason and the status is 125."""
    study = Path(__file__).resolve().parent.parent / "docs" / "study"
    shutil.copytree(study, tmp_path / "study")
    command = f"{sys.executable} -m concmem {arguments.format(study=tmp_path / 'study --format csv')} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 125
    assert done.stderr == "concmem: standard output: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_standard_output_cannot_have_are_escaped(encoding: str) -> None:
    """A table that is cut has an ellipsis, which is in neither encoding."""
    script = "from concmem.cli._status import end_with; end_with(lambda: print('cut \\u2026'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"cut \\u2026\n", b"")


_SMALL_DISK = """
mount -t tmpfs -o size=8k none disk
head -c 8192 /dev/zero > disk/full
shift
"$@"
code=$?
ls -A disk > left
exit $code
"""


def test_each_file_that_does_not_fit_on_the_disk_is_named(own_mounts: list[str], tmp_path: Path) -> None:
    """On a full disk each file gets its own error and leaves no partial file. Files elsewhere are written."""
    pytest.importorskip("altair", reason="Altair is missing: pip install 'concmem[report]'")
    (tmp_path / "disk").mkdir()
    names = {"--timeline": "disk/rows.csv", "--plot": "disk/chart.svg", "--json": "figures.json"}
    command = argv("-q", *(word for pair in names.items() for word in pair), "--", "sh", "-c", "sleep 0.2; exit 3")
    done = subprocess.run(
        [*own_mounts, "sh", "-c", _SMALL_DISK, "sh", "", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 125, done.stderr
    assert done.stderr.splitlines() == [
        f"concmem: {name}: No space left on device" for name in ("disk/rows.csv", "disk/chart.svg")
    ]
    assert json.loads((tmp_path / "figures.json").read_text())["exit"]["code"] == 3
    assert (tmp_path / "left").read_text().split() == ["full"]


_LEAVE_NONBLOCKING = """
import fcntl, os, sys
for fd in (1, 2):
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
for _ in range(300):
    os.system("true")
"""


def test_output_is_complete_although_the_command_sets_o_nonblock() -> None:
    """A child sets O_NONBLOCK on the pipes that it shares with concmem, and the reader is slow: no output is lost."""
    command = argv("--json", "-", "--", sys.executable, "-S", "-c", _LEAVE_NONBLOCKING)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        for stream in (process.stdout, process.stderr):
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
        select.select([process.stderr], [], [], 60)  # the figures come first, and fill their pipe
        time.sleep(0.3)
        figures = threading.Thread(target=lambda: texts.append(process.stderr.read() if process.stderr else b""))
        texts: list[bytes] = []
        figures.start()
        select.select([process.stdout], [], [], 60)
        time.sleep(0.3)
        stored = process.stdout.read()
        figures.join()
        assert process.wait(300) == 0
    assert len(stored) > 65_536
    assert len(concmem.Measurement.from_dict(json.loads(stored)).processes) > 1
    assert b" missed" not in texts[0] and b"sampler: " in texts[0]


def test_other_commands_run_with_closed_streams() -> None:
    """Commands work without standard streams. Output that cannot be printed sets the exit status."""
    for arguments, code in (("--help", 125), ("toolchains", 125), ("run -q -- true", 0), ("no-such-command", 2)):
        command = ["bash", "-c", f"{sys.executable} -m concmem {arguments} <&- >&- 2>&-"]
        assert subprocess.run(command, timeout=1200).returncode == code


def test_arguments_that_are_not_utf_8_are_drawn_and_stored(tmp_path: Path) -> None:
    """Arguments may contain any bytes: chart and JSON are written."""
    pytest.importorskip("altair", reason="Altair is missing: pip install 'concmem[report]'")
    paths = tmp_path / "chart.svg", tmp_path / "figures.json"
    done = run("-q", "--plot", paths[0], "--json", paths[1], "--", "true", os.fsdecode(b"\xff\xfe"))
    assert done.returncode == 0, done.stderr
    assert r"true \xff\xfe" in paths[0].read_text(encoding="utf-8")
    stored = concmem.Measurement.from_dict(json.loads(paths[1].read_text(encoding="utf-8")))
    assert stored.command == ("true", os.fsdecode(b"\xff\xfe"))


def test_ctrl_c_while_the_command_is_imported(tmp_path: Path) -> None:
    """Ctrl-C during imports gives no traceback, in the command and in a subcommand."""
    for module, arguments in (("click", ["--help"]), ("rich", ["bench", "--help"])):
        folder = tmp_path / module
        folder.mkdir()
        (folder / f"{module}.py").write_text("raise KeyboardInterrupt\n")
        search = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "concmem", *arguments]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": search}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 130
        assert done.stderr.strip() in ("", "concmem: interrupted")


def test_the_headline_names_both_ends() -> None:
    """The headline has the amount and both ends, or the only one."""
    import attrs

    from concmem._figures.sentences import headline
    from concmem.model import Figure

    one = concmem.measure(["true"])
    sentences = {
        Figure(30 << 20, "sampled", "smaps_rollup"): "at least 30.0 MiB.",
        Figure(30 << 20, "bounded", "statm", 3 << 20): "30.0 MiB (30.0 MiB to 33.0 MiB).",
        Figure(30 << 20, "bounded", "statm", 1 << 20): "30.0 MiB (30.0 MiB to 31.0 MiB).",
        Figure(30 << 20, "exact", "rss_stat"): "30.0 MiB.",
        Figure(1 << 20, "upper_bound", "wait4 ru_maxrss", 1 << 20): "no more than 2.00 MiB.",
    }
    for peak, sentence in sentences.items():
        assert headline(attrs.evolve(one, peak=peak)) == f"true needed {sentence}"
    missing = Figure(None, "unavailable", "VmHWM", note="a reason")
    without = attrs.evolve(one, peak=Figure(30 << 20, "sampled", "statm"), tree_upper_bound=missing)
    assert headline(without) == "true needed at least 30.0 MiB: a reason."


def test_the_explanation_names_the_source_of_each_end() -> None:
    """The lower end is from PSS, from one process, or from RSS less what can be shared."""
    import attrs

    from concmem._figures.figure_source import FigureSource
    from concmem._figures.sentences import explanation
    from concmem.model import Figure

    one = attrs.evolve(concmem.measure(["true"]), tree_peak_pss=Figure(30 << 20, "sampled", "smaps_rollup"))
    for source, words in (
        ("smaps_rollup", "readings of every process's PSS"),
        ("statm", "the largest size of one process (statm)"),
        (FigureSource.LOWER_BOUND.value, "the sum of RSS (statm) less everything that can be shared"),
    ):
        low, high = explanation(attrs.evolve(one, peak=Figure(30 << 20, "bounded", source, 3 << 20)))
        assert low.startswith("at least 30.0 MiB: ") and words in low
        assert high.startswith("at most 33.0 MiB: ")


class Session:
    """Run the command in its own process group, as a shell does, and send signals as the terminal does."""

    def __init__(self, *arguments: str, own_session: bool = True) -> None:
        self.process = subprocess.Popen(
            argv(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=os.setsid if own_session else os.setpgrp,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ctrl_c(self) -> None:
        """Send SIGINT to every process of the foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Return the exit status and the text on standard error."""
        _, stderr = self.process.communicate(timeout=300)
        return self.process.returncode, stderr


def send_until_it_ends(process: subprocess.Popen[Any], send: Callable[[], None]) -> None:
    """Send a signal again every few seconds: on a busy machine it can come before the one before it is handled."""
    for _ in range(100):
        send()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
            return


def test_ctrl_c_is_the_command_s_to_handle() -> None:
    """A command that handles Ctrl-C keeps its exit status under concmem, and its figures are printed."""
    session = Session("--", "sh", "-c", "trap 'sleep 0.3; exit 7' INT; echo ready; while :; do sleep 0.1; done")
    session.ctrl_c()
    code, stderr = session.end()
    assert code == 7
    assert NEEDED in stderr


def test_a_second_ctrl_c_ends_the_tree() -> None:
    """A command that ignores Ctrl-C is killed at the second one. The figures are printed."""
    session = Session("--", "sh", "-c", "trap '' INT; echo ready; sleep 33; sleep 33")
    session.ctrl_c()
    time.sleep(0.3)
    assert session.process.poll() is None
    send_until_it_ends(session.process, session.ctrl_c)
    code, stderr = session.end()
    assert code == 130
    assert ENDED in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_end_the_tree(number: signal.Signals) -> None:
    """SIGTERM or SIGHUP kills the tree. The figures are printed and the status is 128 + n."""
    session = Session("--", "sh", "-c", "trap '' TERM HUP INT; echo ready; sleep 33; sleep 33")
    session.process.send_signal(number)
    code, stderr = session.end()
    assert code == 128 + number
    assert ENDED in stderr


_COUNT_SIGNALS = """
import signal, sys, time
numbers = [int(number) for number in sys.argv[1:]]
received = []
for number in numbers:
    signal.signal(number, lambda got, frame: received.append(got) or print(got, flush=True))
print("ready", flush=True)
while len(received) < len(numbers):
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(5 if received == numbers else 6)
"""
_NUMBERS = [
    *(signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGXCPU, signal.SIGIO, signal.SIGPWR, signal.SIGRTMIN, signal.SIGRTMAX, signal.SIGUSR1, signal.SIGINT),
]


@pytest.mark.parametrize("whole_group", [True, False], ids=["to the process group", "to concmem alone"])
def test_a_signal_reaches_the_command_once(whole_group: bool) -> None:
    """The command receives each signal exactly once, measuring continues, and the figures are printed."""
    session = Session("--", sys.executable, "-S", "-c", _COUNT_SIGNALS, *(str(int(number)) for number in _NUMBERS))
    assert session.process.stdout is not None
    for number in _NUMBERS:
        if whole_group:
            os.killpg(session.process.pid, number)
        else:
            session.process.send_signal(number)
        assert session.process.stdout.readline() == f"{int(number)}\n"
    code, stderr = session.end()
    assert code == 5
    assert NEEDED in stderr


def test_figures_are_printed_when_a_signal_ends_the_command() -> None:
    """A signal to concmem alone ends a command that does not handle it, as with timeout(1)."""
    session = Session("--", "sh", "-c", "echo ready; exec sleep 35")
    session.process.send_signal(signal.SIGUSR1)
    code, stderr = session.end()
    assert code == 128 + signal.SIGUSR1
    assert ENDED in stderr


def test_signals_that_come_together_are_told_apart() -> None:
    """Two signals to the group and then one to concmem alone arrive once each."""
    numbers = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT]
    script = _COUNT_SIGNALS.replace("received == numbers", "sorted(received) == sorted(numbers)")
    session = Session("--", sys.executable, "-S", "-c", script, *(str(int(number)) for number in numbers))
    os.killpg(session.process.pid, signal.SIGUSR1)
    os.killpg(session.process.pid, signal.SIGUSR2)
    session.process.send_signal(signal.SIGQUIT)
    assert session.end()[0] == 5


_MANY = "for i in $(seq 60); do sleep 0.2 & done; wait; echo > $0"
"""A command whose measurement is larger than a pipe of 4 KiB."""


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("stdout", signal.SIGINT),
        ("stdout", signal.SIGTERM),
        ("stdout", signal.SIGHUP),
        ("stdout", signal.SIGUSR1),
        ("stderr", signal.SIGTERM),
        ("a pipe without a reader", signal.SIGINT),
    ],
)
def test_a_signal_ends_output_that_nothing_reads(number: signal.Signals, where: str, tmp_path: Path) -> None:
    """It ends with 128 + n. Other output is written."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    fifo, done, rows, figures = (tmp_path / name for name in ("fifo", "done", "rows.csv", "figures.json"))
    os.mkfifo(fifo)
    options = {
        "stdout": ["-q", "--json", "-"],
        "stderr": ["--json", figures],
        "a pipe without a reader": ["--json", fifo],
    }
    command = argv("--timeline", rows, *options[where], "--", "sh", "-c", _MANY, done)
    streams: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    if where in streams:
        streams[where] = writer
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams) as process:
        while not done.exists():
            assert process.poll() is None
            time.sleep(0.01)
        send_until_it_ends(process, lambda: process.send_signal(number))
        process.kill()
    os.close(reader)
    os.close(writer)
    # A shell shows 128 + n for both. On a busy machine the next signal can come when the handlers have been restored.
    assert process.returncode in (128 + number, -number)
    assert rows.stat().st_size > 0
    assert where != "stderr" or json.loads(figures.read_text())["exit"]["code"] == 0


def test_a_signal_loses_no_figures_that_can_be_written(tmp_path: Path) -> None:
    """A signal that comes while they are written does not end that: timeout(1) sends its signal twice."""
    (tmp_path / "sitecustomize.py").write_text("from concmem.cli import _waiting\n_waiting._BLOCKED_S = 60\n")
    search = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = argv("-q", "--json", "-", "--", "sh", "-c", _MANY, "/dev/null")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": search}) as process:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        begin = os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        text = begin + process.stdout.read()
    assert process.returncode == 0
    assert concmem.Measurement.from_dict(json.loads(text)).exit.ok


def test_ctrl_c_ends_other_commands_whose_output_nothing_reads(tmp_path: Path) -> None:
    """The first one is enough."""
    shutil.copytree(Path(__file__).resolve().parent.parent / "docs" / "study", tmp_path / "study")
    command = [sys.executable, "-m", "concmem", "report", "--format", "json", str(tmp_path / "study")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        select.select([process.stdout], [], [], 300)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(300) == 130
        finally:
            process.kill()


def test_job_control_stops_and_continues() -> None:
    """SIGTSTP to the group stops concmem and its command; SIGCONT continues both."""
    # In the session of this test: the kernel ignores SIGTSTP in an orphaned process group.
    command = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    session = Session("--", "sh", "-c", command, own_session=False)
    os.killpg(session.process.pid, signal.SIGTSTP)
    os.waitid(os.P_PID, session.process.pid, os.WSTOPPED)
    os.killpg(session.process.pid, signal.SIGCONT)
    session.process.send_signal(signal.SIGUSR1)
    code, stderr = session.end()
    assert code == 9
    assert NEEDED in stderr


def test_processes_that_a_command_leaves_running_are_waited_for_and_listed() -> None:
    """After two seconds the processes that still run are listed. Ctrl-C kills them."""
    session = Session("--", "sh", "-c", "echo ready; setsid sleep 34 > /dev/null 2>&1 & exit 0")
    assert session.process.stderr is not None
    line = session.process.stderr.readline()
    assert line.startswith("concmem: ")
    assert "(sleep)" in line
    session.ctrl_c()
    code, stderr = session.end()
    assert code in (0, 130)
    assert NEEDED in stderr  # the command itself had ended


def test_nohup_is_respected() -> None:
    """A SIGHUP that was ignored when concmem was started stays ignored."""
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *argv("-q", "--", "sh", "-c", "kill -HUP $PPID; exit 5")]
    assert subprocess.run(command, timeout=300).returncode == 5


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """The figures fit in UTF-8 and in ASCII, and a pipe gets no colours."""
    for encoding in ("utf-8", "ascii"):
        done = run("--", "sleep", "0.2", COLUMNS=str(columns), PYTHONIOENCODING=encoding)
        assert max(map(len, done.stderr.splitlines())) <= columns
        assert "\x1b" not in done.stderr
        assert done.stderr.isascii() == (encoding == "ascii")


def test_only_a_terminal_gets_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the headline is bold, also with NO_COLOR: bold is no colour."""
    from concmem.cli._output import report

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    measurement = concmem.measure(["sleep", "0.05"])
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        text = report(measurement, Terminal())
        assert "\x1b[1m" in text and "\x1b[0m" in text and not re.search(r"\x1b\[(?![01]m)", text)
    assert "\x1b" not in report(measurement, io.StringIO())


def test_the_curve_keeps_the_largest() -> None:
    """A chart of any width shows the largest reading. A part without readings repeats the part before it."""
    from concmem.cli._chart import area_chart, column_maxima

    t_s = [number / 1000 for number in range(10_000)]
    amounts = [1000] * len(t_s)
    amounts[7421] = 9000
    for columns in (2, 7, 60, 20_000):
        maxima = column_maxima(t_s, amounts, 10.0, columns)
        assert max(maxima) == 9000
        assert min(maxima) == 1000
    lines = area_chart(t_s, amounts, 10.0, width=80, ascii_only=False)
    assert sum("█" in line for line in lines) == 6
    assert max(map(len, lines)) <= 80


def test_help_lists_the_commands() -> None:
    """The help lists the commands."""
    done = subprocess.run([sys.executable, "-m", "concmem", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("run", "bench", "report", "toolchains"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    ("text", "seconds"), [("1ms", 0.001), ("500us", 0.0005), ("0.5", 0.5), ("2m", 120), ("1 h", 3600), (".5s", 0.5)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    """Times have units; a number without a unit is in seconds."""
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1d", "1e3", "1,5s", "nan"])
def test_invalid_times_are_refused(text: str) -> None:
    """Any other text is refused with a sentence."""
    with pytest.raises(InvalidRequest, match="is not a time"):
        parse_seconds(text)
