"""How much memory do N concurrent tasks need? The study: its plan, its runs, its store."""

from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.progress import BarProgress, LineProgress, Progress, make_progress
from concmem.study.records import Entry, Run, Study
from concmem.study.rows import Row, rows
from concmem.study.run import bench
from concmem.study.store import default_directory, load_study

__all__ = [
    "BarProgress",
    "Cell",
    "Entry",
    "LineProgress",
    "Plan",
    "Progress",
    "Row",
    "Run",
    "Study",
    "StudyError",
    "bench",
    "cells",
    "default_directory",
    "load_study",
    "make_progress",
    "rows",
]
