"""Compare commands by the memory that they need: repeat them in turn, and judge whether a difference is real."""

from concmem.comparison.candidates import Hooks
from concmem.comparison.change import Change, Estimate
from concmem.comparison.engine import compare
from concmem.comparison.line import Line
from concmem.comparison.result import CommandResult, CommandRun, Comparison
from concmem.comparison.session import HookFailed, Step
from concmem.comparison.slope import Slope
from concmem.comparison.stored import load_comparison

__all__ = [
    "Change",
    "CommandResult",
    "CommandRun",
    "Comparison",
    "Estimate",
    "HookFailed",
    "Hooks",
    "Line",
    "Slope",
    "Step",
    "compare",
    "load_comparison",
]
