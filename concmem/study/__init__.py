"""How much memory do N concurrent tasks need? The study: its plan, its runs, its store."""

from concmem.study.merge import merge
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.progress import BarProgress, LineProgress, Progress, make_progress
from concmem.study.records import Entry, Run, Study
from concmem.study.rows import Row, costs, largest_rows, rows
from concmem.study.run import bench
from concmem.study.stats import Cost
from concmem.study.store import StudyNotStored, default_directory, load_study

__all__ = [
    "BarProgress",
    "Cell",
    "Cost",
    "Entry",
    "LineProgress",
    "Plan",
    "Progress",
    "Row",
    "Run",
    "Study",
    "StudyError",
    "StudyNotStored",
    "bench",
    "cells",
    "costs",
    "default_directory",
    "largest_rows",
    "load_study",
    "make_progress",
    "merge",
    "rows",
]
