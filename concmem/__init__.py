"""
Measure how much memory a command and its child processes need. Each figure has its source and its error.

    >>> import concmem
    >>> concmem.measure(["/bin/true"]).peak
"""

from concmem._version import __version__
from concmem.errors import (
    BadInterpreter,
    BadWorkingDirectory,
    CommandError,
    CommandFailed,
    CommandNotExecutable,
    CommandNotFound,
    CommandTooLong,
    ConcmemError,
    InvalidRequest,
    RecordingError,
    SamplerError,
    UnsupportedPlatform,
)
from concmem.host import Host
from concmem.model import SCHEMA, Exit, Figure, Measurement, Process
from concmem.running import DEVNULL, PIPE, STDOUT, Running, measure, start
from concmem.sampler_report import LeftProcess, SamplerReport, Survivor
from concmem.sources import Source, probe
from concmem.stored import load
from concmem.timeline import Timeline

__all__ = [
    "DEVNULL",
    "PIPE",
    "SCHEMA",
    "STDOUT",
    "BadInterpreter",
    "BadWorkingDirectory",
    "CommandError",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "CommandTooLong",
    "ConcmemError",
    "Exit",
    "Figure",
    "Host",
    "InvalidRequest",
    "LeftProcess",
    "Measurement",
    "Process",
    "RecordingError",
    "Running",
    "SamplerError",
    "SamplerReport",
    "Source",
    "Survivor",
    "Timeline",
    "UnsupportedPlatform",
    "__version__",
    "load",
    "measure",
    "probe",
    "start",
]
