"""
The table of figures. Adding a figure takes its entry here and its function in `compute`.

`tests/test_figures.py` compares the attributes of `Measurement` and the tables of the docs with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from concmem._classes.record import Record
from concmem._figures import compute
from concmem._figures.tree import Tree
from concmem.host import Host
from concmem.model import Figure

if TYPE_CHECKING:
    from concmem._figures.ground_truth import Truth

__all__ = ["FIGURES", "FigureEntry", "all_figures"]


def _on_every_host(_: Host) -> bool:
    return True


class FigureEntry(Record):
    """
    One figure of a measurement.

    Attributes:
        name: The attribute of `Measurement`.
        doc: How much memory it is: the end of "how much memory ...".
        function: Computes it from what was observed of the tree, and from other figures by name.
        truth: Returns the true amount for a program of known size; None if no program has one.
        proves: The source that doctor proves with it, in a run with the sources that change nothing; "" if none.
        proves_on_request: The same in a run with this optional source; "" if none.
        unit: Of the amount.
        is_shown: Whether the command prints it for a machine.
    """

    name: str
    doc: str
    function: Callable[[Tree, Mapping[str, Figure]], Figure]
    truth: Callable[[Truth], int | None] | None = None
    proves: str = ""
    proves_on_request: str = ""
    unit: Literal["bytes"] = "bytes"
    is_shown: Callable[[Host], bool] = _on_every_host


_ENTRIES = (
    FigureEntry(
        "peak",
        "the command needed at once: its footprint. This is every page in RAM that it maps, counted once, with huge"
        " pages, swapped-out memory, files in memory and pinned pages. Its lower end is the largest amount that it"
        " certainly held. Its upper end is `tree_upper_bound`",
        compute.peak,
        truth=lambda truth: truth.footprint_bytes,
        proves="headline",
    ),
    FigureEntry(
        "root_peak_rss",
        "the command's own process had in RAM at its peak",
        compute.root_peak_rss,
        truth=lambda truth: truth.root_rss_bytes,
        proves="marks",
        proves_on_request="windows",
    ),
    FigureEntry(
        "largest_peak_rss",
        "the largest process had in RAM at its peak",
        compute.largest_peak_rss,
        truth=lambda truth: truth.largest_rss_bytes,
        proves="marks",
        proves_on_request="windows",
    ),
    FigureEntry(
        "tree_peak_pss",
        "all processes had in RAM together (sum of PSS), by the largest reading. A shared page counts once",
        compute.tree_peak_pss,
        truth=lambda truth: truth.tree_pss_bytes,
        proves="smaps_rollup",
    ),
    FigureEntry(
        "tree_peak_rss_sum",
        "all processes had in RAM together (sum of RSS). A shared page counts once for each process, so this can be"
        " more than they needed. Other tools show this sum",
        compute.tree_peak_rss_sum,
        truth=lambda truth: truth.tree_rss_sum_bytes,
        proves="statm",
        proves_on_request="rss_stat",
    ),
    FigureEntry(
        "tree_upper_bound",
        "the command and its descendants needed at most, together: the smallest amount that page faults, high-water"
        " marks, the control group or the machine allow",
        compute.tree_upper_bound,
        truth=lambda truth: truth.footprint_bytes,
        proves="headline",
    ),
    FigureEntry(
        "cgroup_peak",
        "the kernel charged to the command's own control group. This includes page cache and kernel memory",
        compute.cgroup_peak,
        truth=lambda truth: truth.charged_bytes,
        proves="cgroup",
    ),
    FigureEntry(
        "tree_peak_swap",
        "all processes had swapped out",
        compute.tree_peak_swap,
        is_shown=lambda host: host.swap_bytes > 0,
    ),
)

FIGURES = {entry.name: entry for entry in _ENTRIES}
"""Every figure by its name, the headline first."""


class _Figures(dict[str, Figure]):
    """The figures of a tree by name. Each is computed when it is read first."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._tree = tree

    def __missing__(self, name: str) -> Figure:
        self[name] = FIGURES[name].function(self._tree, self)
        return self[name]


def all_figures(tree: Tree) -> dict[str, Figure]:
    """Compute all figures of a tree, in the order of the table."""
    figures = _Figures(tree)
    return {name: figures[name] for name in FIGURES}
