"""The results of a study, each computed once: what all tables, charts and the page are made from."""

from __future__ import annotations

from functools import cached_property

from concmem.study.judging.article import Verdict, judge_claims
from concmem.study.results.notes import Note, notes_on
from concmem.study.results.row import Row
from concmem.study.results.table import by_memory, costs_of, largest_rows, rows, rows_of_runs
from concmem.study.stats import Cost
from concmem.study.store.records import Study

__all__ = ["Results"]


class Results:
    """
    The results of a study. Each is computed when it is first read, and kept.

    Args:
        study: The study, finished or not.
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    @staticmethod
    def of(study: Study | Results) -> Results:
        """Return the results of a study. Results are returned as they are."""
        return study if isinstance(study, Results) else Results(study)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows, as from `concmem.study.rows`."""
        return rows(self.study)

    @cached_property
    def largest_rows(self) -> list[Row]:
        """The rows of the largest numbers of tasks that ran, as from `concmem.study.largest_rows`."""
        return largest_rows(self.study)

    @cached_property
    def largest_of(self) -> dict[tuple[str, int], Row]:
        """The largest rows, by program and the planned number of tasks that could not run."""
        return {(row.program, row.instead_of): row for row in self.largest_rows if row.instead_of is not None}

    @cached_property
    def all_rows(self) -> list[Row]:
        """The rows, followed by the largest rows."""
        return [*self.rows, *self.largest_rows]

    @cached_property
    def by_memory(self) -> list[tuple[str, list[Row]]]:
        """The programs with their rows, least memory first."""
        return by_memory(self.rows)

    @cached_property
    def ordered_rows(self) -> list[Row]:
        """All rows, largest rows included: programs as in `by_memory`, numbers of tasks in ascending order."""
        largest: dict[str, list[Row]] = {}
        for row in self.largest_rows:
            largest.setdefault(row.program, []).append(row)
        return [
            row
            for program, of_program in self.by_memory
            for row in sorted([*of_program, *largest.get(program, [])], key=lambda row: row.tasks)
        ]

    @cached_property
    def rows_of_runs(self) -> dict[tuple[str, int], list[Row]]:
        """The rows of single runs, as from `concmem.study.rows_of_runs`."""
        return rows_of_runs(self.study)

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """The cost of a task in each program, as from `concmem.study.costs`."""
        return costs_of(self.all_rows, self.study.plan.workload)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdicts on the article's claims, as from `concmem.study.claims`."""
        return judge_claims(self.rows, self.study.plan.workload)

    @cached_property
    def notes(self) -> list[Note]:
        """The notes on the cells, in the order of `by_memory`."""
        return notes_on(self.by_memory, self.study.plan.sleep_s, self.largest_of)

    def rows_at(self, tasks: int) -> list[Row]:
        """Return the rows with this number of tasks, in the plan's order."""
        return [row for row in self.rows if row.tasks == tasks]
