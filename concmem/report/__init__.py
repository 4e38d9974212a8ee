"""Tables and figures of what was measured, claims about it, and two studies compared."""

from concmem.report._write import ReportNotWritten, write
from concmem.report.claims import Beside, beside, print_claims
from concmem.report.compare import Comparison, compare
from concmem.report.compare_tables import print_comparison
from concmem.report.figures import ReportExtraMissing
from concmem.report.formats import COMPARISON_FORMATS, STUDY_FORMATS, comparison_bytes, study_bytes
from concmem.report.tables import print_table

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
