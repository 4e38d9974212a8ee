"""How much memory do N concurrent tasks need? The study: its plan, its runs, its store, the claims that it judges."""

from concmem.study.alone import MachineBusy
from concmem.study.claims import Verdict, claims
from concmem.study.merge import merge
from concmem.study.outlook import Outlook, look_ahead
from concmem.study.place import ClusterError, ClusterExtraMissing
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.progress import BarProgress, LineProgress, Progress, make_progress
from concmem.study.published import Published, Source, published
from concmem.study.records import Entry, Run, Study
from concmem.study.rows import Row, costs, largest_rows, rows, rows_of_runs
from concmem.study.run import bench
from concmem.study.stats import Cost
from concmem.study.store import StudyNotStored, default_directory, load_study

__all__ = [
    "BarProgress",
    "Cell",
    "ClusterError",
    "ClusterExtraMissing",
    "Cost",
    "Entry",
    "LineProgress",
    "MachineBusy",
    "Outlook",
    "Plan",
    "Progress",
    "Published",
    "Row",
    "Run",
    "Source",
    "Study",
    "StudyError",
    "StudyNotStored",
    "Verdict",
    "bench",
    "cells",
    "claims",
    "costs",
    "default_directory",
    "largest_rows",
    "load_study",
    "look_ahead",
    "make_progress",
    "merge",
    "published",
    "rows",
    "rows_of_runs",
]
