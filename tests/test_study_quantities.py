"""The output of a program, and the figures of a run besides its peak."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from concmem.drivers import programs as drivers
from concmem.study import Plan, Run, bench
from concmem.study.workloads import WORKLOADS

pytestmark = pytest.mark.usefixtures("own_machine")

MIB = 1 << 20
SAY = (
    "import mmap, sys, threading, time; n, s = int(sys.argv[1]), float(sys.argv[2])\n"
    "say = lambda t: print(t, flush=True)\n"
    "def hold(mib):\n"
    "    m = mmap.mmap(-1, mib << 20)\n"
    "    for at in range(0, mib << 20, 4096): m[at] = 1\n"
    "    return m\n"
)
WRONG_OUTPUT = {
    "never starts": ("say(f'done {n}')", "printed 'done 3' where 'started 3' was expected"),
    "says nothing": ("", "exited with 0 but did not print 'started 3'"),
    "does not end well": ("say(f'started {n}'); time.sleep(s); say('finished')", "its last line is not 'done 3'"),
    "does not sleep": ("say(f'started {n}'); say(f'done {n}')", "printed 'done' too soon: after "),
    "says it first": (
        "say(f'started {n}'); say(f'done {n}'); time.sleep(s); say(f'done {n}')",
        "after its last expected line",
    ),
    "says it twice": ("say(f'started {n}'); say(f'started {n}'); time.sleep(s)", "printed 'started 3' where 'done 3'"),
    "the wrong number": ("say('started 2'); time.sleep(60)", "printed 'started 2' where 'started 3' was expected"),
    "backwards": ("say(f'done {n}'); time.sleep(60)", "printed 'done 3' where 'started 3' was expected"),
    "exits with 1": ("say(f'started {n}'); time.sleep(s); say(f'done {n}'); sys.exit(1)", "exit code 1"),
    "hangs": ("say(f'started {n}'); time.sleep(s); time.sleep(60)", "did not end within"),
    "hangs at once": ("time.sleep(60)", "did not launch all tasks within"),
}


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str, *, kind: str = "event loop", **options: Any) -> Run:
    """Make one run of 3 tasks of a program that is a Python script."""
    program = SimpleNamespace(
        name="it",
        title="It",
        language="x",
        kind=kind,
        variant="article",
        begins_together=True,
        workloads=tuple(WORKLOADS),
        mappings=0,
        remarks=(),
    )

    def command(tasks: int, seconds: float) -> tuple[str, ...]:
        # The warm-up's seconds are 0.
        return (sys.executable, "-S", "-c", SAY + (script if seconds else ""), str(tasks), str(seconds))

    prepared = SimpleNamespace(program=program, env={}, command=command, flags=lambda tasks: ())
    monkeypatch.setattr(drivers, "load_programs", lambda _=(): {"it": program})
    monkeypatch.setattr(drivers, "detect", lambda _: SimpleNamespace(label="Python", name="python"))
    monkeypatch.setattr(drivers, "prepare", lambda *_: prepared)
    plan = Plan(**{"tasks": (3,), "sleep_s": 0.5, "launch_limit_s": 60, "finish_limit_s": 60, "seed": 1, **options})
    (made,) = bench(plan, folder / "study").runs
    return made


@pytest.mark.parametrize("case", WRONG_OUTPUT)
def test_a_program_with_wrong_output_is_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    """A program without the expected lines, or one that did not sleep long enough, has no figure."""
    script, reason = WRONG_OUTPUT[case]
    # On a busy machine Python may take longer to start than the program has to sleep.
    options = {
        "does not sleep": {"sleep_s": 60},
        "hangs": {"finish_limit_s": 0.5},
        "hangs at once": {"launch_limit_s": 1},
    }
    made = run(monkeypatch, tmp_path, script, **options.get(case, {}))
    assert (made.status, made.peak, made.plateau) == ("failed", None, None)
    assert reason in made.reason


def test_threads_that_do_not_exist_are_a_failed_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program of threads must have as many as it prints; they are counted from outside."""
    sleep = "say(f'started {n}'); time.sleep(s); say(f'done {n}')"
    made = run(monkeypatch, tmp_path / "none", sleep, kind="thread", sleep_s=4)
    assert (made.status, made.reason) == ("failed", "printed 'started 3', but its highest number of threads was 1")
    start = "[threading.Thread(target=time.sleep, args=[s + 0.1]).start() for _ in range(n)];"
    made = run(monkeypatch, tmp_path / "three", start + sleep, kind="thread")
    assert (made.status, made.alive) == ("ok", 4), "the main thread is counted too"


def test_the_plateau_is_the_memory_during_the_sleep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """60 MiB for a moment, then 20 MiB for the whole sleep: the peak is the first, the plateau the second."""
    script = (
        "a = hold(60); time.sleep(0.05); a.close(); b = hold(20); say(f'started {n}'); time.sleep(s); say(f'done {n}')"
    )
    made = run(monkeypatch, tmp_path, script)
    assert made.status == "ok", made.reason
    assert made.peak is not None and made.peak.bytes is not None and made.plateau is not None
    assert made.plateau.bytes is not None and made.plateau.source == "statm"
    assert 20 * MIB <= made.plateau.bytes < 20 * MIB + 30 * MIB
    assert 39 * MIB < made.peak.bytes - made.plateau.bytes < 41 * MIB
    assert made.peak_at_s is not None and made.launch_s is not None and made.peak_at_s < made.launch_s
    assert made.overshoot_s is not None and -0.05 < made.overshoot_s < 60
    assert made.alive is None, "only threads can be counted from outside"


def test_spawn_has_a_rate_and_memory_left_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """3 tasks in 0.2 s are 15 per second; of 40 MiB that they took, 10 MiB stay."""
    script = (
        "time.sleep(0.05); say(f'ready {n}'); a = hold(30); b = hold(10); time.sleep(0.2); a.close();"
        "say(f'ended {n}'); time.sleep(s); say(f'done {n}')"
    )
    made = run(monkeypatch, tmp_path, script, workload="spawn")
    assert made.status == "ok", made.reason
    assert made.rate_per_s is not None and 0 < made.rate_per_s < 3 / 0.2
    assert made.left_over is not None and made.left_over.bytes is not None
    assert 10 * MIB <= made.left_over.bytes < 11 * MIB


def test_spawn_that_does_not_rest_has_no_left_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the rest after the last task there is nothing to read."""
    script = "time.sleep(s); say(f'ready {n}'); say(f'ended {n}'); say(f'done {n}')"
    made = run(monkeypatch, tmp_path, script, workload="spawn")
    assert (made.status, made.left_over) == ("failed", None)
    assert "too soon" in made.reason


def test_channel_counts_messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The number behind ``passed`` can be any, and is divided by the time since the message started."""
    script = "say(f'started {n}'); time.sleep(s); say('passed 600'); say(f'done {n}')"
    made = run(monkeypatch, tmp_path, script, workload="channel")
    assert made.status == "ok", made.reason
    assert made.rate_per_s is not None and 0 < made.rate_per_s <= 600 / 0.49
    assert made.plateau is not None and made.plateau.bytes is not None
