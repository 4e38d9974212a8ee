"""Build the programs of a language, each once, in the cache directory."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from concmem._escaping import escape_text
from concmem.drivers.cache import cache_dir, home_for_tools, publish
from concmem.drivers.language import Alternative, Language, fill
from concmem.drivers.outside_programs import ToolTimeout, Watch, run_tool
from concmem.errors import ConcmemError

__all__ = ["BuildError", "build_once", "cached_folder"]

_TIMEOUT_S = 1800
_NOT_SOURCES = ("__pycache__", "target", "node_modules", "bin", "obj")


class BuildError(ConcmemError, RuntimeError):
    """A program cannot be built. The message ends with the last lines of the compiler's output."""

    def __str__(self) -> str:
        return escape_text(self._sentence(), keep="\n")


def build_once(
    language: Language,
    alternative: Alternative,
    program: str,
    tools: Iterable[object],
    places: Callable[[Path], dict[str, str]],
    watch: Watch,
) -> Path:
    """
    Build a program unless the cache has it, and return its folder in the cache.

    Args:
        language: The language, with its sources.
        alternative: The toolchain that builds.
        program: The name of the program.
        tools: What the result depends on besides the sources: compilers, their versions and paths.
        places: Returns the values of the placeholders for a folder.
        watch: Called with the compiler's output while it runs.

    Raises:
        BuildError: The compiler fails, or does not end in time.
        CacheError: The cache directory cannot be used.
    """
    key = _key(language, tools)
    target = _program_folder(program, key)
    shared = cache_dir() / "shared" / f"{language.folder.name}-{key}"

    def make(scratch: Path) -> None:
        _make(language, alternative, {**places(scratch), "shared": str(shared)}, scratch, watch)

    return publish(target, make)


def cached_folder(language: Language, program: str, tools: Iterable[object]) -> Path:
    """Return the folder in the cache that has a program after `build_once`."""
    return _program_folder(program, _key(language, tools))


def _program_folder(program: str, key: str) -> Path:
    return cache_dir() / "programs" / f"{program}-{key}"


def _make(language: Language, alternative: Alternative, values: dict[str, str], scratch: Path, watch: Watch) -> None:
    for path in _sources(language.folder):
        copy = scratch / path.relative_to(language.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    env = {name: fill(text, values) for name, text in alternative.build_env.items()}
    env = {**home_for_tools(), **env}
    for step in alternative.build:
        argv = [fill(word, values) for word in step]
        try:
            done = run_tool(argv, watch, cwd=scratch, env=env, timeout_s=_TIMEOUT_S)
        except OSError as error:
            raise BuildError(f"cannot build {values['program']}: {argv[0]}: {error.strerror}") from error
        except ToolTimeout as error:
            raise BuildError(f"cannot build {values['program']}: {argv[0]} took more than {_TIMEOUT_S} s") from error
        if done.code != 0:
            lines = escape_text("\n".join(done.lines[-12:]), keep="\n") or f"exit code {done.code}, no message"
            raise BuildError(f"cannot build {values['program']} with {alternative.name}: {lines}")


def _key(language: Language, tools: Iterable[object]) -> str:
    key = hashlib.sha256(repr((platform.machine(), *tools)).encode())
    for path in _sources(language.folder):
        content = path.read_bytes()
        key.update(f"\0{path.relative_to(language.folder)}\0{len(content)}\0".encode() + content)
    return key.hexdigest()[:16]


def _sources(folder: Path) -> list[Path]:
    """Return all files of a language except hidden ones and the output of build tools."""
    relative = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, parts in relative if not any(p.startswith(".") or p in _NOT_SOURCES for p in parts)]
