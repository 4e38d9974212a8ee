"""Both ends of `peak`: each end alone, which one is chosen, and what takes an end away. The trees are made up."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from made_up import MIB, SHELL, marks, tree

from concmem._figures.ends import End, lower_ends, upper_ends, why_no_upper_end
from concmem._figures.figure_source import FigureSource
from concmem._figures.held import Held, narrow_peak
from concmem._figures.table import all_figures
from concmem._figures.tree import Charge, Tree
from concmem.model import Figure

ERROR = 1000
"""Of a high-water mark."""

BATCH = 4096
"""Of a control group's charge."""

MARKS_SUM = 32 * MIB
"""Of the two processes of `made`: a shell of 2 MiB and its child of 30 MiB."""

GROUP = Charge(34 * MIB, FigureSource.CGROUP_V2.value, {})


def made(held: dict[str, Any] | None = None, **facts: Any) -> Tree:
    held = {"cache_bytes": 34 * MIB, **(held or {})}  # page cache explains the charge of GROUP
    return tree(marks(2, 30, 0, 1, **SHELL), marks(30, None, 0.1, 0.9), held=Held(**held), **facts)


def lower(of: Tree) -> dict[FigureSource, End]:
    return {end.source: end for end in lower_ends(of, all_figures(of))}


def upper(of: Tree) -> dict[FigureSource, End]:
    return {end.source: end for end in upper_ends(of, all_figures(of))}


# --- the lower end


@pytest.mark.parametrize(
    ("source", "low_bytes", "held", "facts"),
    [
        (FigureSource.MAXRSS, 30 * MIB, {}, {}),
        (FigureSource.MAXRSS, 10 * MIB, {"duplicate_bytes": 20 * MIB}, {}),
        (FigureSource.MAXRSS, 0, {"duplicate_bytes": 1 << 40}, {}),
        (FigureSource.PSS, 31 * MIB, {}, {"pss_bytes": 31 * MIB}),
        (FigureSource.PSS, 30 * MIB, {}, {"pss_bytes": 31 * MIB, "pss_over_bytes": MIB}),
        # What was swapped out and huge pages are in no PSS.
        (FigureSource.PSS, 40 * MIB, {"pss_bytes": 40 * MIB}, {"pss_bytes": 31 * MIB}),
        (FigureSource.LOWER_BOUND, 31 * MIB, {}, {"lower_bound_bytes": 31 * MIB}),
        (FigureSource.LOWER_BOUND, 31 * MIB - 4 * ERROR, {}, {"lower_bound_bytes": 31 * MIB, "statm_exact": False}),
        (FigureSource.LOWER_BOUND, 0, {}, {"lower_bound_bytes": ERROR, "statm_exact": False}),
        (FigureSource.CGROUP_HELD, 40 * MIB - 2 * BATCH, {"group_bytes": 40 * MIB}, {}),
        (FigureSource.CGROUP_HELD, 0, {"group_bytes": BATCH}, {}),
    ],
)
def test_each_lower_end(source: FigureSource, low_bytes: int, held: dict[str, Any], facts: dict[str, Any]) -> None:
    """Each is the amount that was read, less its error."""
    ends = lower(made(held, **facts))
    assert ends[source].low_bytes == low_bytes
    assert set(ends) <= {source, FigureSource.MAXRSS}


@pytest.mark.parametrize(
    ("source", "held", "facts"),
    [
        (FigureSource.MAXRSS, {"pss_bytes": 29 * MIB, "group_bytes": 29 * MIB}, {"pss_bytes": 28 * MIB}),
        (FigureSource.PSS, {"pss_bytes": 33 * MIB, "group_bytes": 31 * MIB}, {"lower_bound_bytes": 32 * MIB}),
        (FigureSource.LOWER_BOUND, {"group_bytes": 31 * MIB}, {"lower_bound_bytes": 33 * MIB}),
        (FigureSource.CGROUP_HELD, {"group_bytes": 33 * MIB}, {"lower_bound_bytes": 32 * MIB}),
        # The largest amount is not the largest lower end: 2 MiB of it may have been read twice.
        (FigureSource.LOWER_BOUND, {"pss_bytes": 32 * MIB}, {"lower_bound_bytes": 31 * MIB, "pss_over_bytes": 2 * MIB}),
        (FigureSource.PSS, {"duplicate_bytes": 2 * MIB}, {"pss_bytes": 29 * MIB}),
    ],
)  # fmt: skip
def test_the_largest_lower_end_is_chosen(source: FigureSource, held: dict[str, Any], facts: dict[str, Any]) -> None:
    """The headline begins with the end that is largest less its error."""
    of = made(held, **{"pss_bytes": 27 * MIB, **facts})
    peak = all_figures(of)["peak"]
    assert FigureSource.of(peak.source) is source
    assert peak.low_bytes == max(end.low_bytes for end in lower(of).values())


def test_an_upper_bound_is_no_lower_end() -> None:
    """If only ``ru_maxrss`` is known, and it may be the sampler's, nothing shows what the process had at least."""
    of = tree(marks(0, 1, 0, 1, is_root=True), floor_bytes=MIB)
    assert all_figures(of)["largest_peak_rss"].status == "upper_bound"
    assert lower(of) == {}
    assert all_figures(of)["peak"].low_bytes == 0


# --- the upper end

KNOWN = {"faults_bytes": 33 * MIB, "files_bytes": 3 * MIB}
"""What is read of page faults in every measurement."""


@pytest.mark.parametrize(
    ("source", "high_bytes", "held", "facts"),
    [
        (FigureSource.MARKS_SUM, MARKS_SUM + 2 * ERROR, {}, {}),
        (FigureSource.MARKS_AND_EXIT_RECORDS_SUM, 60 * MIB + 2 * ERROR, {}, {"has_all_exit_records": True}),
        (FigureSource.FAULTS, 33 * MIB, KNOWN, {}),
        # Each mark that it relies on has its error; so have the sums, if statm is not exact.
        (FigureSource.FAULTS, 33 * MIB + 3 * ERROR, {**KNOWN, "faults_marks": 3}, {}),
        (FigureSource.FAULTS, 33 * MIB + 7 * ERROR, {**KNOWN, "faults_marks": 3}, {"statm_exact": False}),
        # Files in memory that are open and above what one process maps.
        (FigureSource.FAULTS, 38 * MIB, {**KNOWN, "shmem_extra_bytes": 5 * MIB}, {}),
        (FigureSource.FAULTS, 33 * MIB, {**KNOWN, "shmem_extra_bytes": MIB}, {}),
        (FigureSource.CGROUP_AND_ELSEWHERE, 34 * MIB + BATCH, KNOWN, {"charge": GROUP}),
        (FigureSource.CGROUP_AND_ELSEWHERE, 36 * MIB + BATCH, {**KNOWN, "elsewhere_bytes": 2 * MIB}, {"charge": GROUP}),
        (FigureSource.CGROUP_AND_ELSEWHERE, 34 * MIB + BATCH + ERROR, {**KNOWN, "faults_marks": 1}, {"charge": GROUP}),
        (FigureSource.EXACT_SUM, 33 * MIB, {}, {"exact_sum_bytes": 33 * MIB}),
        # The largest process was read, and had more than the sum of the kernel.
        (FigureSource.EXACT_SUM, 30 * MIB, {}, {"exact_sum_bytes": 30 * MIB - 1}),
        (FigureSource.MACHINE, 64 * MIB, {"machine_bytes": 64 * MIB}, {}),
        (FigureSource.LIMIT, 43 * MIB, {**KNOWN, "limit_bytes": 40 * MIB}, {}),
    ],
)  # fmt: skip
def test_each_upper_end(source: FigureSource, high_bytes: int, held: dict[str, Any], facts: dict[str, Any]) -> None:
    """Each is the amount that was read, and its error."""
    processes = marks(2, 30, 0, 1, **SHELL), marks(30, 30, 0.1, 0.9)
    if source is FigureSource.MARKS_AND_EXIT_RECORDS_SUM:
        processes = (*processes, marks(28, None, 0.2, 0.8, exit_record_bytes=28 * MIB))
        facts = {**facts, "max_alive": 2}
    of = tree(*processes, held=Held(**held), **facts)
    assert upper(of)[source].high_bytes == high_bytes


OUTSIDE = {
    "hugetlb_pool_bytes": 1 * MIB, "swapped_out_bytes": 2 * MIB, "pinned_by_processes_bytes": 4 * MIB,
    "unmapped_bytes": 8 * MIB, "pinned_bytes": 16 * MIB,
}  # fmt: skip


@pytest.mark.parametrize(
    ("outside_mib", "named", "facts"),
    [
        (1 + 2 + 4, ("huge pages", "swapped out", "pinned memory"), {}),
        (1 + 2 + 8 + 16, ("huge pages", "swapped out", "files in memory", "pinned memory"), {"charge": GROUP}),
        (1 + 2 + 4, ("huge pages", "swapped out", "pinned memory"), {"charge": GROUP, "left_groups": True}),
    ],
)
def test_what_rss_does_not_show_is_added(outside_mib: int, named: tuple[str, ...], facts: dict[str, Any]) -> None:
    """Marks, page faults and the kernel's sum lack it. The charge of a group has all but huge and swapped pages."""
    without = upper(made({**KNOWN, "limit_bytes": 40 * MIB}, exact_sum_bytes=33 * MIB, **facts))
    ends = upper(made({**KNOWN, **OUTSIDE, "limit_bytes": 40 * MIB}, exact_sum_bytes=33 * MIB, **facts))
    added = {source: end.high_bytes - without[source].high_bytes for source, end in ends.items()}
    by_others = {FigureSource.CGROUP_AND_ELSEWHERE: 3 * MIB, FigureSource.LIMIT: 3 * MIB}
    assert {source: by_others.get(source, outside_mib * MIB) for source in added if source in ends} == added
    note = ends[FigureSource.MARKS_SUM].note
    assert all(name in note for name in named)
    assert ("files in memory" in note) is ("files in memory" in named)


def test_a_pinned_amount_within_the_batches_of_a_group_is_none() -> None:
    """The charge of a group is exact to two batches, so less than that shows nothing."""
    for pinned_bytes, added_bytes in ((2 * BATCH, 0), (2 * BATCH + 1, 2 * BATCH + 1)):
        end = upper(made({"pinned_bytes": pinned_bytes}, charge=GROUP))[FigureSource.MARKS_SUM]
        assert end.bytes == MARKS_SUM + added_bytes


@pytest.mark.parametrize(
    "facts",
    [
        {"held": {"faults_problem": "memory was added without page faults"}},
        {"survivors": 1},
        {"left_running": 1},
        {"dropped_processes": 1},
        {"no_readings_reason": "/proc is not readable"},
    ],
)
def test_what_takes_the_end_of_page_faults_away(facts: dict[str, Any]) -> None:
    """Without it there is no end by the group and by the limit either: both need the bound of mapped files."""
    held = {**KNOWN, "limit_bytes": 40 * MIB, "machine_bytes": 64 * MIB}
    by_faults = {FigureSource.FAULTS, FigureSource.CGROUP_AND_ELSEWHERE, FigureSource.LIMIT}
    assert by_faults <= set(upper(made(held, charge=GROUP)))
    changed = made({**held, **facts.pop("held", {})}, charge=GROUP, **facts)
    assert not by_faults & set(upper(changed))


def test_a_group_that_processes_left_gives_no_end() -> None:
    """The charge lacks what these processes have. The other ends stay."""
    assert FigureSource.CGROUP_AND_ELSEWHERE in upper(made(KNOWN, charge=GROUP))
    assert set(upper(made(KNOWN, charge=GROUP, left_groups=True))) == {FigureSource.MARKS_SUM, FigureSource.FAULTS}
    assert FigureSource.CGROUP_AND_ELSEWHERE not in upper(made({"faults_bytes": 33 * MIB}, charge=GROUP))


def test_a_refuted_end_is_left_out() -> None:
    """An end below what the tree had at least is wrong, so the next one counts."""
    bound = all_figures(made({"faults_bytes": 30 * MIB - 1}))["tree_upper_bound"]
    assert (bound.source, bound.bytes) == (FigureSource.MARKS_SUM.value, MARKS_SUM)
    bound = all_figures(made({"faults_bytes": 30 * MIB}))["tree_upper_bound"]
    assert (bound.source, bound.bytes) == (FigureSource.FAULTS.value, 30 * MIB)
    # Its error counts for it.
    bound = all_figures(made({"faults_bytes": 30 * MIB - 1, "faults_marks": 1}))["tree_upper_bound"]
    assert bound.source == FigureSource.FAULTS.value
    figures = all_figures(made({"faults_bytes": 33 * MIB}, pss_bytes=50 * MIB))
    assert figures["tree_upper_bound"].bytes is None
    assert (figures["peak"].status, figures["peak"].bytes, figures["peak"].high_bytes) == ("sampled", 50 * MIB, None)


def test_ram_and_swap_are_the_cap() -> None:
    """They bound every other end. Alone they are no figure: that would be true of any command."""
    many = {"unseen": [(0.5, 0.502, 20)], "pss_bytes": 31 * MIB}
    assert all_figures(made(**many))["peak"].high_bytes == MARKS_SUM + 20 * 30 * MIB + 22 * ERROR
    capped = all_figures(made({"machine_bytes": 64 * MIB}, **many))["peak"]
    assert (capped.high_bytes, capped.high_source) == (64 * MIB, FigureSource.MACHINE.value)
    alone = all_figures(made({"machine_bytes": 64 * MIB}, left_running=1))
    assert alone["tree_upper_bound"].bytes is None and alone["peak"].high_bytes is None


def test_a_charge_that_processes_do_not_explain() -> None:
    """What was there between two readings is in the kernel's maximum only: the ends by processes are left out."""
    by_processes = {FigureSource.MARKS_SUM, FigureSource.FAULTS, FigureSource.EXACT_SUM}
    for cache_bytes, remain in (
        (0, set()),
        (MIB, {FigureSource.FAULTS, FigureSource.EXACT_SUM}),
        (2 * MIB, by_processes),
    ):
        of = made({**KNOWN, "cache_bytes": cache_bytes}, charge=GROUP, exact_sum_bytes=33 * MIB)
        assert set(upper(of)) & by_processes == remain
        assert FigureSource.CGROUP_AND_ELSEWHERE in upper(of)


def test_files_in_memory_without_a_group() -> None:
    """How much of them the tree wrote is not known. One sentence says so; a control group tells."""
    held = {**KNOWN, "shmem_unmapped_bytes": 5 * MIB, "machine_bytes": 64 * MIB, "limit_bytes": 40 * MIB}
    of = made(held, exact_sum_bytes=33 * MIB)
    assert set(upper(of)) == {FigureSource.MACHINE}
    figures = all_figures(of)
    for note in (why_no_upper_end(of), figures["tree_upper_bound"].note, figures["peak"].note):
        assert "5.00 MiB in files in memory" in note and "--cgroup" in note
    assert (figures["peak"].status, figures["peak"].high_bytes) == ("sampled", None)
    # A little varies on every machine, and a group is charged for all of them.
    assert FigureSource.MARKS_SUM in upper(made({**held, "shmem_unmapped_bytes": MIB}))
    assert FigureSource.FAULTS in upper(made(held, charge=GROUP))
    by_faults = upper(made({**held, "shmem_extra_bytes": 7 * MIB}, charge=GROUP))[FigureSource.FAULTS]
    assert by_faults.bytes == 33 * MIB


def test_what_is_mapped_twice_lowers_the_low_end_only() -> None:
    """RSS counts a page for each mapping, so up to `duplicate_bytes` of it may be missing; or none."""
    processes = (marks(30, 30, 0, 1, is_root=True),)
    plain = all_figures(tree(*processes))["peak"]
    twice = all_figures(tree(*processes, held=Held(duplicate_bytes=20 * MIB)))["peak"]
    assert (plain.low_bytes, twice.low_bytes) == (30 * MIB, 10 * MIB)
    assert twice.high_bytes == plain.high_bytes == 30 * MIB + ERROR
    assert all_figures(tree(*processes, held=Held(duplicate_bytes=20 * MIB)))["root_peak_rss"].low_bytes == 30 * MIB


def test_swapped_out_memory() -> None:
    """It raises both ends: what processes had swapped out when PSS was read, and all that the machine swapped out."""
    figures = all_figures(
        made({"pss_bytes": 44 * MIB, "swapped_out_bytes": 16 * MIB}, pss_bytes=31 * MIB, swap_bytes=13 * MIB)
    )
    assert (figures["peak"].low_bytes, figures["peak"].high_bytes) == (44 * MIB, MARKS_SUM + 16 * MIB + 2 * ERROR)
    assert figures["tree_peak_swap"].bytes == 13 * MIB
    assert figures["tree_peak_pss"].bytes == 31 * MIB


def test_the_amount_lies_within_its_range() -> None:
    """Whatever was read: low end <= amount <= high end, and the ends are those of the functions above."""
    draw = random.Random(13)

    def some(least: int, most: int) -> int:
        return draw.choice((0, draw.randrange(least * MIB, most * MIB)))

    for _ in range(3000):
        names = [name for name in Held.__annotations__ if name.endswith("_bytes")]
        held: dict[str, Any] = {name: some(0, 80) for name in names} | {"faults_marks": draw.randrange(9)}
        facts = {
            "pss_bytes": some(1, 60) or None,
            "pss_over_bytes": some(0, 2),
            "lower_bound_bytes": some(1, 60),
            "exact_sum_bytes": some(1, 90) or None,
            "statm_exact": draw.random() < 0.5,
            "left_groups": draw.random() < 0.2,
            "has_all_exit_records": draw.random() < 0.2,
            "charge": draw.choice((GROUP, Charge.unknown("none"))),
        }
        processes = [marks(2, 30, 0, 1, **SHELL), marks(30, None, 0.1, 0.9)]
        of = tree(*processes[: draw.choice((1, 2))], held=Held(**held), **facts)
        peak = all_figures(of)["peak"]
        assert peak.bytes is not None and peak.low_bytes is not None, of
        assert 0 <= peak.low_bytes <= peak.bytes, of
        assert peak.low_bytes == max(end.low_bytes for end in lower(of).values()), of
        assert peak.high_bytes is None or peak.bytes <= peak.high_bytes, of
        assert (peak.status == "bounded") is (peak.high_bytes is not None), of


# --- a command with one process


@pytest.mark.parametrize(
    ("faults_mib", "facts", "low_mib", "bytes_mib", "high_mib"),
    [
        (0, {}, 9, 10, 12),
        (20, {}, 9, 10, 12),
        (11, {}, 9, 10, 11),
        (9.5, {}, 9, 9.5, 9.5),
        (9.5, {"fault_bound_marks": 2}, 9, 10, 10.5),
        (9.5, {"fault_bound_marks": 1, "statm_exact": 0}, 9, 10, 11),
        (11, {"fault_bound_problem": 1}, 9, 10, 12),
    ],
)
def test_page_faults_narrow_the_range_of_one_process(
    faults_mib: float, facts: dict[str, int], low_mib: float, bytes_mib: float, high_mib: float
) -> None:
    """They lower the upper end if they bound the memory and are below the mark. The amount stays within the range."""
    head: Any = SimpleNamespace(
        **{"fault_bound_bytes": int(faults_mib * MIB), "fault_bound_marks": 0, "fault_bound_problem": 0}
        | {"statm_exact": 1}
        | facts
    )
    figure = Figure(10 * MIB, "bounded", "wait4 ru_maxrss", 2 * MIB, "", MIB)
    for duplicate_bytes, less_mib in ((0, 0), (3 * MIB, 3), (1 << 40, 9)):
        narrow = narrow_peak(figure, head, duplicate_bytes, MIB // 2)
        assert (narrow.low_bytes, narrow.high_bytes) == ((low_mib - less_mib) * MIB, high_mib * MIB)
        assert narrow.bytes == bytes_mib * MIB
        by_faults = FigureSource.FAULTS.value if high_mib < 12 else figure.high_source
        assert narrow.high_source == by_faults
