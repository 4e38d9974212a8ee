"""The words of the project: expressions that must not come back in any text that people read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmarks", "concmem", "csrc", "docs", "examples", "programs", "scripts", "tests")
ENDINGS = {
    ".c",
    ".h",
    ".py",
    ".md",
    ".toml",
    ".j2",
    ".js",
    ".css",
    ".rs",
    ".go",
    ".java",
    ".cs",
    ".ex",
    ".exs",
    ".hs",
    ".ml",
    ".rb",
    ".kt",
    ".zig",
    ".cpp",
    ".erl",
}
GENERATED = ROOT / "docs" / "study"

# A process, a file and a number are no persons; the others are private or old words for things that have plain names.
EXPRESSIONS = {
    r"\bwhoever\b": "name the process",
    r"\b(some|every|any)body\b": "name the process",
    r"\bnobody\b(?!\")": "name the process (the user \"nobody\" stands in quotes)",
    r"\bmeanwhile\b": "say at what time",
    r"\bspoil(t|s)\b": "say what changes",
    r"\bcannot be meant\b": "is invalid",
    r"\bfor want of\b": "out of",
    r"\b(is|are|to|can|may) be had\b|\b(is|are) to be\b": "is available, is required, must be",
    r"\bbefore its time\b": "early",
    r"\bthose of which\b|\bthat which\b": "name the thing",
    r"\bcannot have exceeded\b": "needed at most",
    r"\btold\b": "say what was printed, requested or known",
    r"\b(comes|goes) by\b": "arrives",
    r"\bhands? on\b|\bhanded on\b": "passes on",
    r"\buntil it is to\b|\bwhat is to\b": "say when it ends",
    r"\bis none of\b": "must be one of ..., not ...",
    r"\bis .+ there and .+ here\b": "name both sides",
}  # fmt: skip


def _files() -> list[Path]:
    files = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.suffix in ENDINGS]
    files += [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]
    left_out = {"node_modules", "target", "bin", "obj", "__pycache__"}
    return [
        path
        for path in files
        if path.is_file()
        and path != Path(__file__)
        and GENERATED not in path.parents
        and not left_out & set(path.parts)
    ]


@pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="the checkout is missing: only an installed concmem is here")
def test_the_words_are_plain() -> None:
    """None of these expressions is in a text of the project; the message says what to write instead."""
    files = _files()
    assert len(files) > 200
    wrong = []
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for expression, instead in EXPRESSIONS.items():
                if re.search(expression, line, re.IGNORECASE):
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]} -> {instead}")
    assert not wrong, "\n".join(wrong)
