"""
Measure how much memory a command and its child processes need. Each figure has its source and its error.

    >>> import concmem
    >>> concmem.measure(["/bin/true"]).peak

Each name is imported from its module when it is used first, because all modules together take longer to import than a
short command runs.
"""

from concmem._version import __version__

TYPE_CHECKING = False  # for a type checker this name is True, as in `typing`, which takes longer to import

if TYPE_CHECKING:
    from concmem import parts as parts
    from concmem import units as units
    from concmem.comparison import Comparison, compare
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
        InvalidType,
        NotPermitted,
        RecordingError,
        SamplerError,
        TimeoutExpired,
        Undecided,
        UnknownName,
        UnsupportedPlatform,
    )
    from concmem.host import Host
    from concmem.model import SCHEMA, Exit, Figure, Measurement, Process
    from concmem.options import DEVNULL, PIPE, STDOUT
    from concmem.running import (
        AsyncRunning,
        Reading,
        ReadProcess,
        Running,
        measure,
        measure_async,
        start,
        start_async,
    )
    from concmem.sampler_report import LeftProcess, SamplerReport, Survivor
    from concmem.sources import Source, probe
    from concmem.stored import load
    from concmem.timeline import Timeline

__all__ = [
    "DEVNULL",
    "PIPE",
    "SCHEMA",
    "STDOUT",
    "AsyncRunning",
    "BadInterpreter",
    "BadWorkingDirectory",
    "CommandError",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "CommandTooLong",
    "Comparison",
    "ConcmemError",
    "Exit",
    "Figure",
    "Host",
    "InvalidRequest",
    "InvalidType",
    "LeftProcess",
    "Measurement",
    "NotPermitted",
    "Process",
    "ReadProcess",
    "Reading",
    "RecordingError",
    "Running",
    "SamplerError",
    "SamplerReport",
    "Source",
    "Survivor",
    "Timeline",
    "TimeoutExpired",
    "Undecided",
    "UnknownName",
    "UnsupportedPlatform",
    "__version__",
    "compare",
    "load",
    "measure",
    "measure_async",
    "probe",
    "start",
    "start_async",
]

_MODULES = {
    "comparison": "Comparison compare",
    "errors": "BadInterpreter BadWorkingDirectory CommandError CommandFailed CommandNotExecutable CommandNotFound"
    " CommandTooLong ConcmemError InvalidRequest InvalidType NotPermitted RecordingError SamplerError"
    " TimeoutExpired Undecided UnknownName UnsupportedPlatform",
    "host": "Host",
    "model": "SCHEMA Exit Figure Measurement Process",
    "options": "DEVNULL PIPE STDOUT",
    "parts": "",
    "running": "AsyncRunning ReadProcess Reading Running measure measure_async start start_async",
    "sampler_report": "LeftProcess SamplerReport Survivor",
    "sources": "Source probe",
    "stored": "load",
    "timeline": "Timeline",
    "units": "",
}
"""The public modules, each with the names that are imported from it. The imports above are the same for type checkers
and editors."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in (module, *names.split())}

if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'concmem' has no attribute {name!r}")
        module = __import__(f"concmem.{_MODULE_OF[name]}", fromlist=[name])
        value = module if name in _MODULES else getattr(module, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULE_OF})
