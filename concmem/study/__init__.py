"""How much memory do N concurrent tasks need? The study: its plan, runs and store, and the article's claims."""

from concmem.study.judging.article import Verdict, claims
from concmem.study.judging.others import Published, Source, published
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.results.row import Row
from concmem.study.results.table import costs, largest_rows, rows, rows_of_runs
from concmem.study.running.backend import ClusterError, ClusterExtraMissing
from concmem.study.running.machine_lock import MachineBusy
from concmem.study.running.outlook import Outlook, look_ahead
from concmem.study.running.progress import BarProgress, LineProgress, Progress, make_progress
from concmem.study.running.study import bench
from concmem.study.stats import Cost
from concmem.study.store.directory import StudyNotStored, default_directory, load_study
from concmem.study.store.merging import merge
from concmem.study.store.records import Entry, Run, Study

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
