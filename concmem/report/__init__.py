"""Tables, charts and the page of a study; verdicts on the article's claims; comparisons of two studies."""

from concmem.report._write import ReportNotWritten, write
from concmem.report.charts.study import ReportExtraMissing
from concmem.report.tables.claims import Beside, beside, print_claims
from concmem.report.tables.comparison import print_comparison
from concmem.report.tables.formats import COMPARISON_FORMATS, STUDY_FORMATS, comparison_bytes, study_bytes
from concmem.report.tables.peaks import print_table
from concmem.study.results.comparison import Comparison, compare

__all__ = [
    "COMPARISON_FORMATS",
    "STUDY_FORMATS",
    "Beside",
    "Comparison",
    "ReportExtraMissing",
    "ReportNotWritten",
    "beside",
    "compare",
    "comparison_bytes",
    "print_claims",
    "print_comparison",
    "print_table",
    "study_bytes",
    "write",
]
