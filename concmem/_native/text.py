"""Text that goes through pipes: its encoding, input, and output."""

from __future__ import annotations

import io
from typing import Any

from concmem.errors import InvalidRequest

__all__ = ["as_bytes", "as_text", "decoder_of", "text_encoding", "text_file"]


def text_encoding(encoding: str | None) -> str:
    """Return the encoding of text: that of the locale if none is given."""
    return encoding or io.TextIOWrapper(io.BytesIO(), encoding="locale").encoding


def decoder_of(encoding: str | None, errors: str | None) -> Any:
    """Return an incremental decoder of output, which makes every line end with a newline."""
    import codecs

    decoder = codecs.getincrementaldecoder(text_encoding(encoding))(errors or "strict")
    return io.IncrementalNewlineDecoder(decoder, translate=True)


def as_text(content: bytes, encoding: str | None, errors: str | None, *, is_cut: bool = False) -> str:
    """
    Decode output as a text file would, with a newline at the end of each line.

    Args:
        content: The output.
        encoding: Its encoding, or None for that of the locale.
        errors: The error handler, or None for ``strict``.
        is_cut: Whether the content may end within a character, which is then left out.

    Raises:
        UnicodeDecodeError: The output is not in this encoding.
    """
    text: str = decoder_of(encoding, errors).decode(content, final=not is_cut)
    return text


def as_bytes(given: Any, *, is_text: bool, encoding: str | None, errors: str | None) -> memoryview:
    """
    Return input for a command as bytes.

    Args:
        given: Bytes, a str if pipes have text, or None for no input.
        is_text: Whether pipes have text.
        encoding: As in `as_text`.
        errors: As in `as_text`.

    Raises:
        InvalidRequest: It is neither.
        UnicodeEncodeError: The text has a character that the encoding does not have.
    """
    if is_text and isinstance(given, str):
        given = given.encode(text_encoding(encoding), errors or "strict")
    try:
        return memoryview(b"" if given is None else given).cast("B")
    except TypeError:
        kind = "a str" if is_text else "bytes, or a str with text=True"
        raise InvalidRequest(f"input must be {kind}, not {given!r:.80}") from None


def text_file(file: Any, encoding: str | None, errors: str | None, **how: Any) -> io.TextIOWrapper:
    """Return a text file around a binary one."""
    return io.TextIOWrapper(file, encoding=text_encoding(encoding), errors=errors, **how)
