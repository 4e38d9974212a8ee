"""Write the report of a study into its directory."""

from __future__ import annotations

from pathlib import Path

from concmem._escaping import shell_word
from concmem._files.atomic import replace_whole
from concmem.errors import ConcmemError
from concmem.export.outputs import content
from concmem.report.charts.study import need_extra, write_charts
from concmem.study import StudyError, load_study
from concmem.study.results.results import Results

__all__ = ["ReportNotWritten", "write", "write_results"]

_FILES = {"table.md": "study", "table.csv": "study", "claims.md": "claims", "claims.json": "claims"}
_WITH_EXTRA = {"index.html": "page"}
"""The files of a report, and what each contains, see `concmem.export.outputs`."""


class ReportNotWritten(ConcmemError, OSError):
    """A file of the report could not be written, for example on a full disk. The study itself is complete."""

    def _sentence(self) -> str:
        again = f"concmem report {shell_word(str(self.filename))}"
        return f"the report in {self.filename} could not be written: {self.strerror}; to try again: {again}"


def write(study_dir: str | Path, *, figures: bool = True) -> list[Path]:
    """
    Write the table, the claims, the charts and the page of a study, finished or not, into its directory.

    Args:
        study_dir: The directory of the study.
        figures: Whether to write charts and page, which need the report extra.

    Returns:
        The files, the charts first.

    Raises:
        StudyError: There is no study, or it has no run.
        RecordingError: A file of the study cannot be read.
        ReportExtraMissing: The report extra is not installed, and `figures` is true. Nothing was written.
        ReportNotWritten: A file could not be written.
    """
    return write_results(Results(load_study(study_dir)), figures=figures)


def write_results(results: Results, *, figures: bool = True) -> list[Path]:
    """Write the same as `write`, from the results of a study that was read already."""
    study = results.study
    if not study.runs:
        raise StudyError(f"the study in {study.path} has no run yet: there is nothing to report")
    if figures:
        need_extra()
    files = _FILES | (_WITH_EXTRA if figures else {})
    contents = {name: content(of, Path(name).suffix, results) for name, of in files.items()}
    try:
        paths = write_charts(results, study.path) if figures else []
        for name, written in contents.items():
            path = study.path / name
            replace_whole(path, written)
            paths.append(path)
    except OSError as error:
        raise ReportNotWritten(error.errno, error.strerror, str(study.path)) from error
    return paths
