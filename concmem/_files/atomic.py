"""Write files completely or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from concmem._files.blocking import waiting_call

__all__ = ["replace_whole", "replacing", "unfinished", "write_whole"]

_UNFINISHED = re.compile(r"\..+\.[0-9]+\.[0-9a-f]{8}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write. It replaces `path` at the end of the block, and is removed if the block raises."""
    name = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        # Not tempfile: the file gets the mode of any new file, according to the umask.
        with open(name, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. A link or a pipe of this name is replaced: the folder can be anyone's."""
    with replacing(path) as file:
        file.write(content)


def write_whole(path: Path, content: bytes) -> None:
    """
    Write a file that the user has named, completely or not at all.

    A link is followed. A device or a pipe is written directly.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            with waiting_call:
                target.write_bytes(content)
            return
        with replacing(target) as file:
            file.write(content)
    except OSError as error:
        error.filename = str(path)  # not the one that would have replaced it
        raise


def unfinished(folder: Path) -> Iterator[Path]:
    """Return the files in a folder that `replacing` is writing, or was writing when its process was killed."""
    return (path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name))
