"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["replacing", "unfinished", "write_whole"]

_UNFINISHED = re.compile(r"\..+\.[0-9]+\.[0-9a-f]{8}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` when the block ends well, and is removed when it does not."""
    name = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        # Opened like any new file, so that it gets the mode that the user's umask leaves.
        with open(name, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all; to a device or a pipe, just write."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    with replacing(target) as file:
        file.write(content)


def unfinished(folder: Path) -> Iterator[Path]:
    """The files in a folder that `replacing` is writing, or was when its process was killed."""
    return (path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name))
