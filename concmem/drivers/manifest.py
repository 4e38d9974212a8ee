"""
Read a ``language.toml``. Its keys are the attributes of `concmem.drivers.language.Language`.

``docs/add-a-language.md`` describes the format for users.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from concmem._files.bounded import open_regular
from concmem._files.strict import describe, strict_converter
from concmem.drivers.language import (
    ALWAYS,
    Alternative,
    Entry,
    Kind,
    Language,
    Tool,
    Way,
    fill,
    version_key,
)
from concmem.drivers.manifest_mistakes import find_mistakes
from concmem.errors import ConcmemError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "ALWAYS",
    "Alternative",
    "Entry",
    "Kind",
    "Language",
    "ManifestError",
    "Tool",
    "Way",
    "fill",
    "read",
    "version_key",
]

_MOST_BYTES = 1 << 20


class ManifestError(ConcmemError, ValueError):
    """A ``language.toml`` is invalid. The message names the file and the key."""

    exit_code = 2


def _text(path: Path) -> str:
    with open_regular(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"the file is larger than {_MOST_BYTES >> 20} MiB")
    return content.decode("utf-8").replace("\r\n", "\n")


@cache
def read(path: Path) -> Language:
    """
    Return the language that a ``language.toml`` describes.

    Raises:
        ManifestError: The file cannot be read or is invalid.
    """
    try:
        stored = tomllib.loads(_text(path))
        language = _CONVERTER.structure(stored, Language)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # Not UTF-8, or not TOML.
        raise ManifestError(f"{path}: {error}") from error
    except Exception as error:
        what, _, key = cattrs.transform_error(error, path="", format_exception=describe)[0].rpartition(" @ ")
        wrong = f"{key.lstrip('.')}: {what}" if key else what
    else:
        wrong = ""
    if wrong:
        raise ManifestError(f"{path}: {wrong}")
    language = attrs.evolve(language, folder=path.parent.resolve())
    for mistake in find_mistakes(language):
        raise ManifestError(f"{path}: {mistake}")
    return language


def _converter() -> cattrs.Converter:
    made = strict_converter()
    # The folder is that of the file, not a key in it.
    structure = make_dict_structure_fn(
        Language, made, _cattrs_forbid_extra_keys=True, folder=cattrs.override(omit=True)
    )
    made.register_structure_hook(Language, structure)
    return made


_CONVERTER = _converter()
