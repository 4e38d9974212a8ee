"""The tutorial's examples print what it shows, except amounts and times, which depend on the machine."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import concmem
from concmem.units import parse_bytes

TUTORIAL = Path(__file__).resolve().parent.parent / "docs/tutorial.md"

pytestmark = pytest.mark.skipif(not TUTORIAL.exists(), reason="the checkout is missing: the tutorial is not here")


def blocks(language: str) -> list[str]:
    """Return the tutorial's examples in a language; "" for terminal output."""
    every = re.findall(r"^```(\w*)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)
    return [text for kind, text in every if kind == language]


def sessions() -> list[str]:
    """Return the examples of a Python prompt. An example that measures nothing continues the one before it."""
    joined: list[str] = []
    for block in blocks("python") if TUTORIAL.exists() else ():
        if block.startswith(">>>") and "measure(" in block:
            joined.append(block)
        elif block.startswith(">>>"):
            joined[-1] += block
    return joined


def shape(text: str) -> str:
    """Replace what depends on the machine: amounts, times, errors, and the best source."""
    text = re.sub(r" \([-+][^)]*\)", "", " ".join(text.split()))
    text = re.sub(r"\d[\d_]*(?:\.\d+)?", "#", text)
    text = re.sub(r"# (?:[KMG]iB|B)\b", "# bytes", text)
    return re.sub(r"from (?:status VmHWM|wait# ru_maxrss|taskstats hiwater_rss|cgroup v# \w+)", "from SOURCE", text)


def amounts(text: str) -> list[int]:
    """Return the amounts of at least 16 MiB in a text, in bytes. These depend little on the machine."""
    found = [parse_bytes(f"{float(n) * 1000:.0f}{unit}") // 1000 for n, unit in re.findall(r"([\d.]+) ([MG]iB)", text)]
    found += [int(n) for n in re.findall(r"(?<![\d.])\d{8,}(?![\d.])", text)]
    return [each for each in found if each >= 16 << 20]


class Checker(doctest.OutputChecker):
    """Compare shapes, and large amounts within a factor of two."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Return whether the output agrees with the tutorial."""
        pairs = list(zip(amounts(want), amounts(got), strict=False))
        return (
            shape(want) == shape(got)
            and len(amounts(want)) == len(amounts(got))
            and all(expected / 2 < there < expected * 2 for expected, there in pairs)
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the files that the tutorial creates."""
    made = tmp_path_factory.mktemp("tutorial")
    (makes,) = (block for block in blocks("sh") if block.startswith("seq "))
    subprocess.run(makes, shell=True, check=True, cwd=made)
    yield made
    shutil.rmtree(made)


def _missing(source: str) -> str:
    """Return why an example cannot run here, or ""."""
    usable = {found.name: found for found in concmem.probe()}
    for name in ("taskstats", "cgroup"):
        if f"{name}=True" in source and not usable[name].usable:
            return f"{name} is not usable here: {usable[name].why_not}"
    if "user=" in source and os.geteuid() != 0:
        return "only root may run a command as another user"
    return ""


@pytest.mark.parametrize("source", sessions(), ids=lambda source: re.findall(r"measure\(\W*(\w+)", source)[0])
def test_python(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Each example prints the lines below it."""
    if why := _missing(source):
        pytest.skip(why)
    monkeypatch.chdir(folder)
    output: list[str] = []
    # A busy machine may lose the kernel's record of a process that lived for a millisecond.
    for _ in range(5 if "taskstats=True" in source else 1):
        names = {"concmem": concmem}
        example = doctest.DocTestParser().get_doctest(source, names, "the tutorial", str(TUTORIAL), 0)
        output.clear()
        result = doctest.DocTestRunner(Checker(), optionflags=doctest.REPORT_NDIFF).run(example, out=output.append)
        assert result.attempted > 0
        if result.failed == 0:
            return
    pytest.fail("".join(output))


def test_the_test_of_a_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test in the tutorial passes."""
    (source,) = (block for block in blocks("python") if block.startswith("def test_"))
    monkeypatch.chdir(folder)
    names = {"concmem": concmem}
    exec(source, names)
    names["test_sort_stays_small"]()  # type: ignore[operator]


def _terminal(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "80"}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_first_command(folder: Path) -> None:
    """The headline of the first command is as shown. Where both ends are the same in three digits, it has no range."""
    (command,) = (block for block in blocks("sh") if block.startswith("concmem run -- sort -o"))
    (headline,) = (block for block in blocks("") if block.startswith("sort needed"))
    done = _terminal(command, folder)
    assert done.returncode == 0, done.stderr
    shown, printed = (
        re.sub(r" \([^)]* to [^)]*\)", "", text) for text in (headline, done.stderr.strip().splitlines()[0])
    )
    assert shown != headline.strip() and Checker().check_output(shown, printed, 0)


@pytest.mark.parametrize("command", ["sh -c 'sort big.txt | uniq -c'", "--quiet --json -"], ids=["a pipe", "JSON"])
def test_further_commands(folder: Path, command: str) -> None:
    """The other commands run unchanged, without the programs that read their output."""
    (line,) = (block.strip() for block in blocks("sh") if command in block)
    done = _terminal(line.replace(" | jq .peak.bytes", ""), folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_explanation_of_the_range(folder: Path) -> None:
    """--explain prints the range, both ends, every figure in order, and how the command ended."""
    (block,) = (block for block in blocks("") if block.startswith("$ concmem run --explain"))
    command, _, shown = block.partition("\n")
    done = _terminal(command.removeprefix("$ "), folder)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    begins = [line.split()[0] for line in lines if line.strip()]
    assert begins[0] == "sh"
    assert lines[1 if not lines[0] else 0].startswith("sh needed ")
    names = [line.split()[0] for line in shown.splitlines() if re.match(r"\w+_\w+ |peak |figure |sampler: ", line)]
    assert names[:2] == ["figure", "peak"] and names[-1] == "sampler:"
    at = [begins.index(name) for name in names]
    assert at == sorted(at)
    assert "- at least 207 MiB: " in shown and any(line.startswith("- at least ") for line in lines)
    assert any(line.startswith("- at most ") for line in lines)
    assert any(line.startswith("exit code 0; ") for line in lines)
