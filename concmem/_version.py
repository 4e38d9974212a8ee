"""The version of concmem."""

__version__ = "0.1.0"
