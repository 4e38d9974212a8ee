"""
The article's claims, judged by a study's figures.

The article is "How Much Memory Do You Need to Run 1 Million Concurrent Tasks?" of 2023; `concmem.study.published` has
its figures. Every claim is one entry of `CLAIMS`: the claim, the condition under which it holds, and its judge.
"""

from __future__ import annotations

from collections.abc import Iterable

from concmem.study.judging.claim import Claim, Verdict, Version
from concmem.study.judging.judges import (
    ARTICLE,
    LARGE,
    NATIVE,
    RUST_ASYNC,
    THREADS,
    all_below,
    any_above,
    beats_a_rust_runtime,
    cannot_run,
    is_competitive,
    is_within,
    most_are_late,
    needs_more_than_installed,
    ranks_change,
    times,
    times_the_best,
    under_idle,
)
from concmem.study.judging.verdicts import Cells
from concmem.study.results.row import Row
from concmem.study.results.table import rows
from concmem.study.store.records import Study
from concmem.units import format_bytes

__all__ = ["CLAIMS", "Claim", "Verdict", "Version", "claims", "judge_claims"]


def claims(study: Study) -> list[Verdict]:
    """Judge every claim by the figures of a study, finished or not; claims about few tasks come first."""
    return judge_claims(rows(study), study.plan.workload)


def judge_claims(of_study: Iterable[Row], workload: str) -> list[Verdict]:
    """Return the same as `claims`, from the rows of a study."""
    if workload != "sleep":
        why = f"the claim is about tasks that sleep, but the workload of this study is {workload}"
        return [Verdict(each.key, each.tasks, each.claim, "no figure", "cannot be judged", why) for each in CLAIMS]
    cells = Cells(of_study)
    return [claim.verdict(cells) for claim in CLAIMS]


def _but(programs: tuple[str, ...], *without: str) -> tuple[str, ...]:
    return tuple(program for program in programs if program not in without)


_QUARTER = 0.25
_NO_LIMIT = float("inf")
# The article does not say whether its MB are 10^6 or 2^20 bytes, so both are accepted.
_ABOUT_250_MB = 250e6 * (1 - _QUARTER), 250 * (1 << 20) * (1 + _QUARTER)
_ABOUT_HALF_AGAIN = 1.5 * (1 - _QUARTER), 1.5 * (1 + _QUARTER)
_TOKIO = Version(
    "1 000 000 tasks take 224 MiB with Tokio 1.28, the version of the article's year, and 437 MiB with 1.38 (measured "
    "separately; a study with rust-tokio-1-28 judges by both)",
    "rust-tokio",
    "rust-tokio-1-28",
)
_DOTNET = Version(
    "the article's .NET 6.0 took 131 MB with 1, 10 000 and 100 000 tasks; published figures of .NET 9 are "
    "24.4, 28.1 and 50.1 MiB (hez2010, take 2, without Task.Run)"
)  # fmt: skip

CLAIMS = (
    Claim(
        "go-and-rust-least", 1, "Go and Rust need the least memory.",
        "each of their four programs needs less than each of the other six",
        all_below(NATIVE, _but(ARTICLE, *NATIVE)),
    ),
    Claim(
        "dotnet-most", 1, ".NET needs the most memory.",
        "C# needs more than each of the other nine programs",
        all_below(_but(ARTICLE, "csharp"), ("csharp",)), (_DOTNET,),
    ),
    Claim(
        "async-over-threads", 10_000, "Asynchronous programs can take more memory than threads (the title).",
        "at least one of the eight programs without native threads needs more than Rust's native threads",
        any_above("rust-threads", LARGE),
    ),
    Claim(
        "threads-lose", 10_000, "Threads were expected to lose.",
        "both programs with native threads need more than each of the other eight (by the article's own figures this "
        "expectation is wrong)",
        all_below(LARGE, THREADS),
    ),
    Claim(
        "java-threads-250-mb", 10_000, "Java threads take about 250 MB.",
        f"they take {' to '.join(map(format_bytes, _ABOUT_250_MB))}: 250 MB within a quarter, with MB as 10^6 or 2^20 "
        "bytes",
        is_within("java-threads", *_ABOUT_250_MB),
    ),
    Claim(
        "rust-threads-under-idle", 10_000, "Rust threads take less than many other runtimes take idle.",
        "at least two of Go, Java, .NET, Node.js, Python and Elixir take more for one task (by the article's own "
        "figures two do)",
        under_idle,
    ),
    Claim(
        "goroutines-half-again", 10_000, "As often quoted: goroutines take about 50 % more than Rust threads.",
        f"Go needs {' to '.join(map(str, _ABOUT_HALF_AGAIN))} times as much: within a quarter of 1.5 times",
        times("go", "rust-threads", *_ABOUT_HALF_AGAIN),
    ),
    Claim(
        "goroutines-over-half", 10_000, "As written: goroutines take more than 50 % of what Rust threads take.",
        "Go needs more than 0.5 times as much",
        times("go", "rust-threads", 0.5, _NO_LIMIT),
    ),
    Claim(
        "rust-threads-cannot-run", 100_000, "This many Rust threads cannot run.",
        "no run had all of them alive at once, and a limit of the machine is below this number",
        cannot_run("rust-threads"),
    ),
    Claim(
        "java-threads-cannot-run", 100_000, "This many Java threads cannot run.",
        "no run had all of them alive at once, and a limit of the machine is below this number",
        cannot_run("java-threads"),
    ),
    Claim(
        "go-behind-rust", 100_000, "Go has fallen behind Rust.",
        "both of Rust's asynchronous programs need less than Go",
        all_below(RUST_ASYNC, ("go",)),
    ),
    Claim(
        "go-behind-java", 100_000, "Go has fallen behind Java.",
        "Java's virtual threads need less than Go",
        all_below(("java-virtual-threads",), ("go",)),
    ),
    Claim(
        "go-behind-csharp", 100_000, "Go has fallen behind C#.",
        "C# needs less than Go",
        all_below(("csharp",), ("go",)),
    ),
    Claim(
        "go-behind-nodejs", 100_000, "Go has fallen behind Node.js.",
        "Node.js needs less than Go",
        all_below(("nodejs",), ("go",)),
    ),
    Claim(
        "dotnet-hardly-grows", 100_000, ".NET hardly needs more than for one task.",
        f"C# needs less than {1 + _QUARTER:g} times as much",
        times("csharp", "csharp", 0, 1 + _QUARTER, other_tasks=1), (_DOTNET,),
    ),
    Claim(
        "csharp-competitive", 1_000_000, "C# is competitive.",
        "it is among the better half of the article's eight programs without native threads",
        is_competitive, (_TOKIO,),
    ),
    Claim(
        "csharp-beats-a-rust-runtime", 1_000_000, "C# needs less than one of the Rust runtimes.",
        "it needs less than Tokio or less than async-std",
        beats_a_rust_runtime, (_TOKIO,),
    ),
    Claim(
        "go-12-times-the-best", 1_000_000, "Go needs over 12 times as much as the best.",
        "it needs more than 12 times what one of the article's other programs without native threads needs",
        times_the_best("go", _but(LARGE, "go"), 12), (_TOKIO,),
    ),
    Claim(
        "go-twice-java", 1_000_000, "Go needs over twice as much as Java.",
        "it needs more than 2 times what Java's virtual threads need",
        times("go", "java-virtual-threads", 2, _NO_LIMIT),
    ),
    Claim(
        "tokio-least", 1_000_000, "Tokio needs the least memory.",
        "it needs less than each of the article's other seven programs without native threads",
        all_below(("rust-tokio",), _but(LARGE, "rust-tokio")), (_TOKIO,),
    ),
    Claim(
        "most-over-12-s", 1_000_000, "Most programs take over 12 s.",
        "more than half of the eight programs without native threads take over 2 s longer than their tasks sleep "
        "(10 s in the article), by the median of their runs",
        most_are_late,
    ),
    Claim(
        "not-all-out-of-the-box", 1_000_000, "Not all runtimes handle extreme concurrency out of the box.",
        "at least one of the ten programs is stopped by a limit of the machine, or needs a flag of its runtime",
        needs_more_than_installed,
    ),
    Claim(
        "few-or-many", 1_000_000, "Some are good with few tasks, others at scale.",
        "of the eight programs without native threads, at least one is in the better half with 1 task and in the worse "
        "half with 1 000 000 tasks, and at least one the other way round",
        ranks_change(1),
    ),
)  # fmt: skip
"""All claims; those about few tasks come first."""
