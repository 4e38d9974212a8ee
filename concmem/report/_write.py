"""Everything that is reported of a study, into its own directory."""

from __future__ import annotations

from pathlib import Path

from concmem._escaping import shell_word
from concmem._files.atomic import write_whole
from concmem.errors import ConcmemError
from concmem.report.charts.study import need_extra, write_figures
from concmem.report.page.build import page
from concmem.report.tables.claims import claims_json, claims_markdown
from concmem.report.tables.formats import csv_text
from concmem.report.tables.peaks import markdown
from concmem.study import StudyError, load_study

__all__ = ["ReportNotWritten", "write"]


class ReportNotWritten(ConcmemError, OSError):
    """A file of a report could not be written: the disk is full, say. The study itself is whole."""

    def _sentence(self) -> str:
        again = f"concmem report {shell_word(str(self.filename))}"
        return f"the report in {self.filename} could not be written: {self.strerror}; to try again: {again}"


def write(study_dir: str | Path, *, figures: bool = True) -> list[Path]:
    """
    Write the table, the claims, the figures and the page of a study, finished or not, beside what it stored.

    Args:
        study_dir: The directory of the study.
        figures: Whether to draw figures and page, which needs the report extra.

    Returns:
        The files, the figures first.

    Raises:
        StudyError: There is no study, or no run in it.
        RecordingError: A file of it cannot be read.
        ReportExtraMissing: Figures are wanted, and what draws them is not installed; nothing has been written.
        ReportNotWritten: The disk is full, say.
    """
    study = load_study(study_dir)
    if not study.runs:
        raise StudyError(f"the study in {study.path} has no run yet: there is nothing to report")
    if figures:
        need_extra()
    texts = {
        "table.md": markdown(study),
        "table.csv": csv_text(study),
        "claims.md": claims_markdown(study),
        "claims.json": claims_json(study),
    }
    if figures:
        texts["index.html"] = page(study)
    try:
        paths = write_figures(study, study.path) if figures else []
        for name, text in texts.items():
            path = study.path / name
            write_whole(path, text.encode())
            paths.append(path)
    except OSError as error:
        raise ReportNotWritten(error.errno, error.strerror, str(study.path)) from error
    return paths
