"""
setuptools' build backend, which pip and build call. Before a build, it checks whether concmem can be compiled here.

The check runs before pip downloads the build dependencies. A source distribution needs no compiler.
"""

from __future__ import annotations

import os
import runpy
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- all other hooks

_check = runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "compiler_check.py"))["check"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    _check()
    return build_meta.get_requires_for_build_wheel(config_settings)


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    _check()
    return build_meta.get_requires_for_build_editable(config_settings)
