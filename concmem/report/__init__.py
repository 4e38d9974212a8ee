"""Tables and figures of what was measured."""

from concmem.report._write import write
from concmem.report.figures import ReportExtraMissing
from concmem.report.tables import print_table

__all__ = ["ReportExtraMissing", "print_table", "write"]
