from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
from rich.console import Console
from stored_studies import store_study

from concmem.drivers.programs import load_programs
from concmem.report import beside, print_claims
from concmem.report.tables.claims import claims_json, claims_markdown, markdown_beside, terminal_claims
from concmem.study import Row, Study, Verdict, claims, published
from concmem.study.judging.article import CLAIMS
from concmem.study.judging.judges import ARTICLE, LARGE
from concmem.study.judging.verdicts import Answer, Cells, Span, at_least, span
from concmem.study.limits.kinds import Obstacle
from concmem.study.results.results import Results

MIB = 1 << 20
TOTAL = len(CLAIMS)
HOLDS, NOT, UNKNOWN = "holds", "does not hold", "cannot be judged"
Make = Callable[..., Study]


def a_row(program: str, tasks: int, *mib: float, **more: Any) -> Row:
    """Return a row whose runs needed these amounts; without amounts, a failed row."""
    known: dict[str, Any] = {"program": program, "tasks": tasks, "title": program, "toolchain": f"{program} 1.0"}
    known |= {"language": "", "kind": "", "variant": "article", "flags": (), "sleep_s": 10.0, "runs": len(mib) or 1}
    if mib:
        ordered = sorted(int(each * MIB) for each in mib)
        known |= {"min_bytes": ordered[0], "median_bytes": ordered[len(mib) // 2], "max_bytes": ordered[-1]}
        known |= {"status": "ok", "figure_statuses": ("bounded",), "wall_s": 10.5, "beyond_s": 0.5}
    return Row(**{"status": "failed", "good_runs": len(mib), **known, **more})


def judged(key: str, *rows: Row) -> Verdict:
    """Judge the claim of that name by these rows."""
    (claim,) = (claim for claim in CLAIMS if claim.key == key)
    return claim.verdict(Cells(rows))


def alike(programs: tuple[str, ...], tasks: int, mib: float, **others: float) -> list[Row]:
    """Return a row of each program with the same amount, except the named ones (with ``_`` for ``-``)."""
    amounts = dict.fromkeys(programs, mib) | {name.replace("_", "-"): amount for name, amount in others.items()}
    return [a_row(program, tasks, amount) for program, amount in amounts.items()]


SMALL = {"go": 2.0, "rust_threads": 2.1, "rust_tokio": 2.2, "rust_async_std": 2.3}


@pytest.mark.parametrize(
    ("others", "verdict", "message"),
    [
        (SMALL, HOLDS, "the smallest of the other 6: "),
        (SMALL | {"rust_tokio": 41.0}, NOT, "rust-tokio 41.0 MiB"),
        (SMALL | {"python": 1.0}, NOT, "python 1.00 MiB"),
    ],
)
def test_go_and_rust_need_least(others: dict[str, float], verdict: str, message: str) -> None:
    """Each of the four needs less than each of the six; an exception is named."""
    result = judged("go-and-rust-least", *alike(ARTICLE, 1, 40.0, **others))
    assert result.verdict == verdict and message in result.found


def test_a_counterexample_refutes_a_claim_and_a_gap_leaves_it_open() -> None:
    """A claim about all programs is refuted by one of them, and not confirmed while one is missing."""
    most = [row for row in alike(ARTICLE, 1, 40.0, **SMALL) if row.program != "elixir"]
    result = judged("go-and-rust-least", *most)
    assert (result.verdict, result.why) == (UNKNOWN, "elixir at 1 is not in this study")
    assert "the smallest of the other 5" in result.found
    refuted = [row for row in most if row.program != "python"] + [a_row("python", 1, 1.0)]
    assert judged("go-and-rust-least", *refuted).verdict == NOT


def test_dotnet_needs_most() -> None:
    """C# above all others; below one of them; in the range of one of them."""
    assert judged("dotnet-most", *alike(ARTICLE, 1, 40.0, csharp=131.0)).verdict == HOLDS
    below = judged("dotnet-most", *alike(ARTICLE, 1, 40.0, csharp=25.0))
    assert below.verdict == NOT and below.found == "csharp 25.0 MiB; the largest of the other 9: elixir 40.0 MiB"
    rows = alike(ARTICLE, 1, 40.0, csharp=131.0)
    near = [row for row in rows if row.program != "elixir"] + [a_row("elixir", 1, 120, 130, 132)]
    result = judged("dotnet-most", *near)
    assert result.verdict == UNKNOWN
    assert result.why == "the ranges allow both answers: elixir 120 MiB to 132 MiB, csharp 131 MiB to 131 MiB"


def test_figures_of_mono_judge_no_claim_about_dotnet() -> None:
    """No claim about .NET is judged by figures of Mono."""
    kind = {"toolchain": "Mono 6.8 (not .NET)", "toolchain_name": "Mono"}
    mono = [a_row("csharp", tasks, 131.0, **kind) for tasks in (1, 100_000, 1_000_000)]
    rest = [row for tasks in (1, 100_000, 1_000_000) for row in alike(ARTICLE, tasks, 200.0) if row.program != "csharp"]
    for key in (claim.key for claim in CLAIMS if "dotnet" in claim.key or "csharp" in claim.key):
        result = judged(key, *mono, *rest)
        assert result.verdict == UNKNOWN and "ran on Mono 6.8 (not .NET), whose figures" in result.why
    assert judged("dotnet-most", *rest, a_row("csharp", 1, 300.0, toolchain=".NET 8.0.4")).verdict == HOLDS


@pytest.mark.parametrize(
    ("mib", "verdict"),
    [((233, 240, 250), HOLDS), ((170, 171), NOT), ((320,), NOT), ((300, 305, 320), UNKNOWN), ((), UNKNOWN)],
)
def test_java_threads_take_about_250_mb(mib: tuple[float, ...], verdict: str) -> None:
    """Within a quarter, with MB as 10^6 or 2^20 bytes; runs on both sides of the limit leave it open."""
    result = judged("java-threads-250-mb", a_row("java-threads", 10_000, *mib, reason="" if mib else "it was stopped"))
    assert result.verdict == verdict
    if len(mib) == 3 and verdict == HOLDS:
        assert result.found == "java-threads 240 MiB (252 MB)"
    if verdict == UNKNOWN:
        assert result.why == ("its range is 300 MiB to 320 MiB" if mib else "java-threads at 10 000: it was stopped")


@pytest.mark.parametrize(
    ("idle", "verdict", "message"),
    [
        ({"csharp": 131, "elixir": 57}, HOLDS, "50.0 MiB; more with one task: elixir 57.0 MiB, csharp 131 MiB"),
        ({"csharp": 131}, NOT, "50.0 MiB; more with one task: csharp 131 MiB"),
        ({}, NOT, "50.0 MiB; no other runtime needs more with one task; the largest is elixir 40.0 MiB"),
        ({"csharp": 131, "java_threads": 0}, UNKNOWN, "more with one task: csharp 131 MiB"),
    ],
)
def test_rust_threads_stay_under_idle_runtimes(idle: dict[str, float], verdict: str, message: str) -> None:
    """The runtimes that need more for one task are named; two are enough; a missing one may be the second."""
    runtimes = ("go", "java-threads", "csharp", "nodejs", "python", "elixir")
    rows = [row for row in alike(runtimes, 1, 40.0, **idle) if row.median_bytes]
    result = judged("rust-threads-under-idle", a_row("rust-threads", 10_000, 50), *rows)
    assert result.verdict == verdict and message in result.found
    assert (result.why == "java-threads at 1 is not in this study") == (verdict == UNKNOWN)


@pytest.mark.parametrize(
    ("go", "half_again", "over_half"),
    [
        ((150,), HOLDS, HOLDS),
        ((60,), NOT, HOLDS),
        ((30,), NOT, NOT),
        ((40, 45, 60), NOT, UNKNOWN),
        ((), UNKNOWN, UNKNOWN),
    ],
)
def test_goroutines_in_both_wordings(go: tuple[float, ...], half_again: str, over_half: str) -> None:
    """More than 50 % and 50 % more are two claims about the same figure."""
    rows = [a_row("rust-threads", 10_000, 100), *([a_row("go", 10_000, *go)] if go else [])]
    retold, written = (judged(key, *rows) for key in ("goroutines-half-again", "goroutines-over-half"))
    assert (retold.verdict, written.verdict) == (half_again, over_half)
    if go == (60,):
        assert retold.found == written.found == "go 60.0 MiB, rust-threads 100 MiB: 0.6 times"


@pytest.mark.parametrize("program", ["rust-threads", "java-threads"])
def test_native_threads_cannot_run(program: str) -> None:
    """A failed run with a limit confirms the claim; a figure refutes it; a run that was never tried leaves it open."""
    key = f"{program}-cannot-run"
    limit = "kernel.pid_max is 32768, but 102048 is needed"
    failed = judged(key, a_row(program, 100_000, reason="stopped", limit=limit))
    assert (failed.verdict, failed.found) == (HOLDS, f"{limit}; stopped")
    broken = judged(key, a_row(program, 100_000, reason="error while loading shared libraries (exit code 127)"))
    assert broken.verdict == UNKNOWN, "a failure is no limit"
    ran = judged(key, a_row(program, 100_000, 900.0, runs=3, status="partly", reason="once too slow"))
    assert (ran.verdict, ran.found) == (NOT, f"1 of 3 runs succeeded: {program} 900 MiB")
    skipped = a_row(program, 100_000, status="skipped", reason="not tried: it failed with 50 000 tasks: no more")
    assert judged(key, attrs.evolve(skipped, limit=limit)).verdict == HOLDS
    assert judged(key, skipped, a_row(program, 50_000, reason="pid_max", limit=limit)).verdict == UNKNOWN
    absent = judged(key)
    assert (absent.verdict, absent.why) == (UNKNOWN, f"{program} at 100 000 is not in this study")
    later = judged(key, a_row(program, 100_000, status="not run", reason="the study is not finished"))
    assert (later.verdict, later.why) == (UNKNOWN, f"{program} at 100 000: the study is not finished")


@pytest.mark.parametrize(
    ("key", "programs"),
    [
        ("go-behind-rust", ("rust-tokio", "rust-async-std")),
        ("go-behind-java", ("java-virtual-threads",)),
        ("go-behind-csharp", ("csharp",)),
        ("go-behind-nodejs", ("nodejs",)),
    ],
)
def test_go_falls_behind_each_of_four(key: str, programs: tuple[str, ...]) -> None:
    """Less than Go; more than Go; overlapping ranges; one of two programs above Go refutes the claim."""
    go = a_row("go", 100_000, 260, 265, 270)
    *first, last = programs
    less = [a_row(program, 100_000, 50) for program in first]
    assert judged(key, go, *less, a_row(last, 100_000, 240, 250)).verdict == HOLDS
    assert judged(key, go, *less, a_row(last, 100_000, 280)).verdict == NOT
    near = judged(key, go, *less, a_row(last, 100_000, 250, 262))
    assert near.verdict == UNKNOWN and f"{last} 250 MiB to 262 MiB, go 260 MiB to 270 MiB" in near.why
    assert judged(key, *less, a_row(last, 100_000, 50)).verdict == UNKNOWN


def test_dotnet_hardly_grows() -> None:
    """The limit is a quarter more with 100,000 tasks than with 1."""
    one = a_row("csharp", 1, 100)
    held = judged("dotnet-hardly-grows", one, a_row("csharp", 100_000, 99))
    assert (held.verdict, held.found) == (HOLDS, "csharp 99.0 MiB with 100 000, csharp 100 MiB with 1: 0.99 times")
    assert judged("dotnet-hardly-grows", one, a_row("csharp", 100_000, 126)).verdict == NOT
    assert judged("dotnet-hardly-grows", one, a_row("csharp", 100_000, 120, 124, 126)).verdict == UNKNOWN
    assert judged("dotnet-hardly-grows", one).verdict == UNKNOWN


def ranked(csharp: float, **gone: float) -> list[Row]:
    """Return rows with a million tasks: 100, 200, ... 700 MiB for all programs but C# and those in `gone`."""
    others = [program for program in LARGE if program != "csharp"]
    rows = [a_row(program, 1_000_000, 100.0 * i) for i, program in enumerate(others, 1)]
    return [a_row("csharp", 1_000_000, csharp), *(row for row in rows if row.program.replace("-", "_") not in gone)]


def test_csharp_is_competitive() -> None:
    """The fourth of eight is competitive, the fifth is not; a missing program matters only if it can change this."""
    fourth = judged("csharp-competitive", *ranked(350))
    assert fourth.verdict == HOLDS
    assert fourth.found == ("csharp 350 MiB, rank 4 of 8 after rust-tokio 100 MiB, rust-async-std 200 MiB, go 300 MiB")
    assert judged("csharp-competitive", *ranked(450)).verdict == NOT
    assert judged("csharp-competitive", *ranked(50)).found == "csharp 50.0 MiB, rank 1 of 8"
    assert judged("csharp-competitive", *ranked(350, elixir=0)).verdict == UNKNOWN
    assert judged("csharp-competitive", *ranked(250, elixir=0)).verdict == HOLDS


@pytest.mark.parametrize(
    ("csharp", "verdict", "beaten"),
    [((461,), HOLDS, "; C# needs less than rust-async-std"),
     ((150,), HOLDS, "; C# needs less than rust-tokio and rust-async-std"),
     ((600,), NOT, ""), ((500, 550), UNKNOWN, ""), ((), UNKNOWN, "")],
)  # fmt: skip
def test_csharp_beats_one_rust_runtime(csharp: tuple[float, ...], verdict: str, beaten: str) -> None:
    """The Rust runtimes that need more are named."""
    rust = [a_row("rust-tokio", 1_000_000, 214), a_row("rust-async-std", 1_000_000, 528)]
    result = judged("csharp-beats-a-rust-runtime", *rust, a_row("csharp", 1_000_000, *csharp))
    assert result.verdict == verdict and result.found.endswith(beaten or "MiB")


def test_go_needs_over_12_times_the_best() -> None:
    """The smallest decides; while a program is missing that may be smaller, the others can only confirm the claim."""
    rows = alike(LARGE, 1_000_000, 500.0, go=2658.0, rust_tokio=213.6)
    result = judged("go-12-times-the-best", *rows)
    assert (result.verdict, result.found) == (HOLDS, "go 2.60 GiB, rust-tokio 214 MiB: 12.4 times")
    assert judged("go-12-times-the-best", *alike(LARGE, 1_000_000, 500.0, go=2500.0)).verdict == NOT
    assert judged("go-12-times-the-best", *(row for row in rows if row.program != "python")).verdict == HOLDS
    assert judged("go-12-times-the-best", *(row for row in rows if row.program != "rust-tokio")).verdict == UNKNOWN


def test_go_needs_over_twice_java() -> None:
    """Exactly twice is not enough."""
    go = a_row("go", 1_000_000, 2658)
    assert judged("go-twice-java", go, a_row("java-virtual-threads", 1_000_000, 1154)).verdict == HOLDS
    assert judged("go-twice-java", go, a_row("java-virtual-threads", 1_000_000, 1329)).verdict == NOT
    assert judged("go-twice-java", go, a_row("java-virtual-threads", 1_000_000, 1300, 1400)).verdict == UNKNOWN


def test_tokio_needs_least() -> None:
    """It must need less than each of the other seven programs."""
    assert judged("tokio-least", *alike(LARGE, 1_000_000, 500.0, rust_tokio=200.0)).verdict == HOLDS
    result = judged("tokio-least", *alike(LARGE, 1_000_000, 500.0, rust_tokio=437.0, rust_async_std=365.0))
    assert (result.verdict, result.found) == (
        NOT,
        "rust-tokio 437 MiB; the smallest of the other 7: rust-async-std 365 MiB",
    )
    gap = a_row("go", 1_000_000, status="skipped", reason="too large")
    rows = [row for row in alike(LARGE, 1_000_000, 500.0, rust_tokio=200.0) if row.program != "go"]
    assert judged("tokio-least", *rows, gap).why == "go at 1 000 000: too large"


@pytest.mark.parametrize(
    ("late", "missing", "verdict"), [(5, 0, HOLDS), (4, 0, NOT), (4, 1, UNKNOWN), (5, 3, HOLDS), (3, 1, NOT)]
)
def test_most_take_over_12_s(late: int, missing: int, verdict: str) -> None:
    """Five of eight are most; the time counts from the end of the sleep, however long that was."""
    there = list(enumerate(LARGE))[: len(LARGE) - missing]
    rows = []
    for i, program in there:
        sleep_s, beyond_s = 20.0 if i else 1.0, 2.5 if i < late else 1.5
        rows.append(a_row(program, 1_000_000, 100, sleep_s=sleep_s, wall_s=sleep_s + beyond_s, beyond_s=beyond_s))
    result = judged("most-over-12-s", *rows)
    assert result.verdict == verdict
    assert result.found.startswith(f"{late} of {len(there)}: rust-tokio 3.50 s (slept 1 s), rust-async-std 22.50 s")


@pytest.mark.parametrize(
    ("elixir", "title", "expectation"),
    [((40.0,), NOT, HOLDS), ((120.0,), HOLDS, NOT), ((90.0, 110.0), UNKNOWN, UNKNOWN)],
)
def test_async_and_threads(elixir: tuple[float, ...], title: str, expectation: str) -> None:
    """The title holds if one of eight is above Rust's threads; "threads lose" holds if none is; a tie is open."""
    rows = alike(LARGE[:-1], 10_000, 30.0, rust_threads=100.0, java_threads=300.0)
    rows.append(a_row(LARGE[-1], 10_000, *elixir))
    result = judged("async-over-threads", *rows)
    assert (result.verdict, judged("threads-lose", *rows).verdict) == (title, expectation)
    assert result.found.startswith("rust-threads 100 MiB; ") and "elixir" in result.found


def test_out_of_the_box() -> None:
    """One program that a limit stops or that needs a flag is enough; if all ran as installed, the claim is refuted."""
    every = alike(ARTICLE, 1_000_000, 100.0)
    key = "not-all-out-of-the-box"
    assert judged(key, *every).verdict == NOT and judged(key, *every).found == "run as installed: 10 of 10"
    assert judged(key, *every[1:]).verdict == UNKNOWN
    flagged = judged(key, *every[:-1], a_row("elixir", 1_000_000, 100, flags=("+P", "2")))
    assert (flagged.verdict, flagged.found) == (HOLDS, "run with a flag: elixir (+P 2); run as installed: 9 of 10")
    stopped = judged(key, a_row("rust-threads", 1_000_000, limit="pid_max is 9"), *every[1:])
    assert stopped.found == "stopped by a limit: rust-threads (pid_max is 9); run as installed: 9 of 10"
    assert judged(key, a_row("rust-threads", 1_000_000, reason="crash"), *every[1:]).verdict == UNKNOWN


def test_good_with_few_or_with_many() -> None:
    """Two programs that certainly change places confirm the claim; the same order at both ends refutes it."""
    few = [a_row(program, 1, i + 1) for i, program in enumerate(LARGE)]

    def many(order: tuple[str, ...]) -> list[Row]:
        return [a_row(program, 1_000_000, 100 * (i + 1)) for i, program in enumerate(order)]

    assert judged("few-or-many", *few, *many(LARGE)).verdict == NOT
    turned = judged("few-or-many", *few, *many((*LARGE[-1:], *LARGE[1:-1], *LARGE[:1])))
    assert turned.verdict == HOLDS
    assert turned.found == (
        f"in the better half only with 1 task: {LARGE[0]}; in the better half only with 1 000 000 tasks: {LARGE[-1]}"
    )
    assert judged("few-or-many", *few[1:], *many((*LARGE[-1:], *LARGE[1:-1], *LARGE[:1]))).verdict == UNKNOWN


def test_a_tie_gives_a_range_of_ranks() -> None:
    """Programs within range and error of C# are named, and its rank is given as a range."""
    rows = [row for row in ranked(350) if row.program != "nodejs"]
    result = judged("csharp-competitive", *rows, a_row("nodejs", 1_000_000, 340, 360))
    assert "rank 4 to 5 of 8 after " in result.found
    assert result.found.endswith(", tied within range and error with nodejs 360 MiB")


def test_a_verdict_that_depends_on_a_version_says_so() -> None:
    """The claim is also judged by figures of the other version; without them, the known figures are shown."""
    rows = alike(LARGE, 1_000_000, 500.0, rust_tokio=437.0, rust_async_std=366.0)
    known = judged("tokio-least", *rows)
    assert (known.verdict, known.version.partition(",")[0]) == (NOT, "1 000 000 tasks take 224 MiB with Tokio 1.28")
    other = a_row("rust-tokio-1-28", 1_000_000, 220, title="Tokio 1.28", toolchain="tokio 1.28.2")
    judged_too = judged("tokio-least", *rows, other)
    assert judged_too.verdict == NOT and judged_too.found == known.found
    assert judged_too.version.startswith("with tokio 1.28.2 it holds: Tokio 1.28 220 MiB; ")


def test_errors_widen_a_range() -> None:
    """The error of a figure widens its range on that side; an unknown error does not."""
    assert span(a_row("go", 1, 2, 3, error_bytes=MIB, over_bytes=MIB)) == Span(MIB, 4 * MIB)
    assert span(a_row("go", 1, 2, 3, figure_statuses=("sampled",))) == Span(2 * MIB, 3 * MIB)
    assert span(a_row("go", 1, 1, over_bytes=2 * MIB)).low > 0
    java = a_row("java-virtual-threads", 100_000, 255)
    assert judged("go-behind-java", a_row("go", 100_000, 260), java).verdict == HOLDS
    assert (
        judged("go-behind-java", a_row("go", 100_000, 260), attrs.evolve(java, error_bytes=9 * MIB)).verdict == UNKNOWN
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_at_least_is_known_only_if_every_value_of_the_unknown_agrees(count: int) -> None:
    """The answer is yes or no exactly if every way to fill the gaps gives the same."""
    for answers in itertools.product((True, False, None), repeat=3):
        ways = itertools.product(*((a,) if a is not None else (True, False) for a in answers))
        outcomes = {sum(way) >= count for way in ways}
        expected = outcomes.pop() if len(outcomes) == 1 else None
        assert at_least(count, [Answer(a, ("why",)) for a in answers]) == Answer(
            expected, () if expected is not None else ("why",)
        )
    many = [at_least(1, [Answer(None, (f"gap {i}", f"gap {i + 1}")) for i in part]) for part in ((0, 1), (1, 2))]
    assert at_least(2, many).obstacle == "gap 0; gap 1; and 2 more", "no obstacle is shown twice"


def test_a_side_without_a_figure_is_named() -> None:
    """A comparison names the programs without a figure; if no program has one, it says so once."""
    assert judged("go-behind-nodejs", a_row("nodejs", 100_000, 115)).found == "nodejs 115 MiB; no figure for go"
    assert judged("go-behind-nodejs", a_row("go", 100_000, 115)).found == "no figure for nodejs; go 115 MiB"
    assert judged("go-behind-nodejs").found == "no figure"
    assert judged("dotnet-most", a_row("csharp", 1, 20)).found == "csharp 20.0 MiB; no figure for the other 9"


def of_the_article(make_study: Make, **changed: Any) -> Study:
    """Return a study with the article's figures, on a machine that stops threads at 100,000."""
    figures = [each for each in published() if each.source.key == "pkolaczk-2023"]
    cells: Mapping[tuple[str, int], Any] = {
        (each.program or "", each.tasks): [each.bytes / MIB] if each.bytes is not None else each.reason
        for each in figures
    }
    study = make_study("article", cells, **changed)
    runs = []
    for run in study.runs:
        if run.measurement is not None:
            made = attrs.evolve(run.measurement, wall_s=10.1 if run.tasks < 1_000_000 else 13.0)
            runs.append(attrs.evolve(run, measurement=made))
        else:
            limit = Obstacle("kernel.pid_max", 32768, run.tasks + 2048, room=32_000)
            runs.append(attrs.evolve(run, status="failed", obstacles=(limit,)))
    return attrs.evolve(study, runs=tuple(runs))


def test_the_article_s_own_figures_confirm_its_claims(make_study: Make) -> None:
    """Its figures confirm all but an expectation and a quotation that it did not claim; each claim is listed once."""
    verdicts = claims(of_the_article(make_study))
    assert [each.key for each in verdicts if each.verdict != HOLDS] == ["threads-lose", "goroutines-half-again"]
    assert [each.key for each in verdicts] == list(dict.fromkeys(claim.key for claim in CLAIMS))
    assert len({(each.tasks, each.claim) for each in verdicts}) == TOTAL
    assert [each.tasks for each in verdicts] == sorted(each.tasks for each in verdicts)


def test_another_workload_is_not_judged(make_study: Make) -> None:
    """Programs that do not sleep judge no claim of the article, and are not compared with published figures."""
    study = of_the_article(make_study, plan={"workload": "spawn"})
    assert {(each.verdict, each.why) for each in claims(study)} == {
        (UNKNOWN, "the claim is about tasks that sleep, but the workload of this study is spawn")
    }
    assert not [each for each in beside(study) if each.ours]


def test_the_ten_are_the_article_s() -> None:
    """The judged programs are those with the variant ``article`` in their manifests."""
    assert {program.name for program in load_programs().values() if program.variant == "article"} == set(ARTICLE)


@pytest.mark.parametrize("width", [80, 120])
def test_claims_fit_the_terminal(make_study: Make, width: int) -> None:
    """No line is too wide; every claim, figure and condition is printed whole; a pipe gets no escape sequences."""
    study = of_the_article(make_study)
    out = io.StringIO()
    print_claims(study, Console(file=out, width=width))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text and "\N{HORIZONTAL ELLIPSIS}" not in text
    assert f"{TOTAL} claims of the article: {TOTAL - 2} hold, 2 do not hold." in text
    words = " ".join(text.split())
    for verdict in claims(study):
        assert f"{verdict.claim} here: {verdict.found} holds if {verdict.why}" in words
    assert words.count("does not hold") == 2, "at the two claims"


def test_unjudged_claims_say_why(make_study: Make) -> None:
    """With one program, some claims are judged; with none, one line is enough."""
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(terminal_claims(claims(make_study("one", {("java-threads", 10_000): [250.0]}))), highlight=False)
    words = " ".join(out.getvalue().split())
    assert f"1 holds, {TOTAL - 1} cannot be judged." in words
    assert "here: no figure because go at 1 000 000 is not in this study" in words
    out.truncate(out.seek(0))
    console.print(terminal_claims(claims(make_study("none", {("own", 1): [2.0]}))), highlight=False)
    assert out.getvalue() == f"{TOTAL} claims of the article: {TOTAL} cannot be judged.\n"


def test_published_figures_are_those_of_the_sources() -> None:
    """Each figure is as published, and in bytes by the unit of its source."""
    result = {(each.source.key, each.there, each.tasks): each for each in published()}
    assert len(result) == len(published())
    for key, there, tasks, stated, bytes_ in (
        ("pkolaczk-2023", "Rust threads", 10_000, 48.3, 48_300_000),
        ("pkolaczk-2023", "Elixir", 1_000_000, 4009, 4_009_000_000),
        ("hez2010-take-1", "Go", 1_000_000, 2_641_592, 2_641_592 * 1024),
        ("hez2010-take-2", "Rust (futures)", 1_000_000, 207.37890625, 53_089 * 4096),
        ("fallenwood-2024", "asyncstd", 10_000, 7.7, round(7.7 * MIB)),
        ("spurreiter-2024", "deno", 1_000_000, 891, 891 * MIB),
    ):
        figure = result[key, there, tasks]
        assert (figure.stated, figure.bytes) == (stated, bytes_)
    threads = result["pkolaczk-2023", "Java threads", 100_000]
    assert (threads.stated, threads.bytes, threads.reason) == (None, None, "could not be launched")


def test_take_2_is_in_whole_pages() -> None:
    """Its unit is 2^20 bytes: only with that is every figure a whole number of pages."""
    figures = [each for each in published() if each.source.key == "hez2010-take-2"]
    assert len(figures) == 44 and all(each.bytes is not None and each.bytes % 4096 == 0 for each in figures)


def test_published_programs_are_ours_or_differ() -> None:
    """Each has a program of ours that exists, or says what it does differently; each figure has bytes or a reason."""
    names = set(load_programs())
    for each in published():
        assert (each.program in names) != bool(each.differs), each
        assert (each.bytes is None) == bool(each.reason), each
        assert each.source.address.startswith("https://") and each.source.unit_why
    of_the_article = {each.program for each in published() if each.source.key == "pkolaczk-2023"}
    assert of_the_article == set(ARTICLE)


def test_published_figures_stand_beside_ours(make_study: Make) -> None:
    """A study of the article's figures has the ratio 1 to them, and other ratios to other sources; gaps have none."""
    study = of_the_article(make_study)
    by_cell = {(e.published.source.key, e.published.there, e.published.tasks): e for e in beside(study)}
    assert len(by_cell) == len(published())
    article = [e for e in by_cell.values() if e.published.source.key == "pkolaczk-2023" and e.published.bytes]
    assert [e.ratio for e in article] == pytest.approx([1.0] * 36, abs=1e-5)
    assert by_cell["hez2010-take-1", "Go", 1_000_000].ratio == pytest.approx(2658e6 / (2_641_592 * 1024), rel=1e-6)
    assert by_cell["pkolaczk-2023", "Rust threads", 100_000].ratio is None
    assert by_cell["hez2010-take-2", "C#", 1].ours is None
    text = markdown_beside(list(by_cell.values()))
    assert "| Go | go | 1.72 MiB (1.00) | 27.3 MiB (1.00) | 257 MiB (1.00) | 2.48 GiB (1.00) |" in text
    assert "none: without Task.Run" in text and "could not be launched" in text
    assert "### hez2010, take 2 (2024)" in text and "### fallenwood (2024)" in text


def test_claims_are_written_as_markdown_and_json(make_study: Make) -> None:
    """The document has a line for each claim; the JSON has the same verdicts and every published figure."""
    study = of_the_article(make_study)
    text, content = claims_markdown(Results(study)), json.loads(claims_json(Results(study)))
    for verdict in claims(study):
        assert sum(f"| {verdict.claim} | {verdict.verdict} |" in line for line in text.splitlines()) == 1
    assert content["claims"] == [attrs.asdict(each) for each in claims(study)]
    assert len(content["published"]) == len(published()) and len(content["sources"]) == 5
    go = next(e for e in content["published"] if e["source"] == "pkolaczk-2023" and e["there"] == "Go")
    assert (go["tasks"], go["stated"], go["ours_bytes"]) == (1, 1.8, int(1.8e6)) and go["ratio"] == pytest.approx(1)


def test_the_command_prints_and_writes_the_claims(make_study: Make) -> None:
    """``concmem report`` prints the claims after the table, and names the files that contain them."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    study = store_study(of_the_article(make_study))
    command = [sys.executable, "-m", "concmem", "report", str(study.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    table, message, rest = done.stdout.partition(f"{TOTAL} claims of the article: ")
    assert "Peak memory by number of tasks" in table and message and "claims.md, claims.json" in rest
    assert (study.path / "claims.md").read_text(encoding="utf-8") == claims_markdown(Results(study))
    assert (study.path / "claims.json").read_text(encoding="utf-8") == claims_json(Results(study))
