"""Every option is declared once: signature, documentation, checks and command come from the declaration."""

from __future__ import annotations

import functools
import inspect
import os
import pydoc
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import concmem
from concmem import options
from concmem._native.shared_memory import layout, native
from concmem.errors import InvalidRequest

EVERY = options.declared(options.MeasureOptions)


@pytest.mark.parametrize(
    ("function", "declared"),
    [
        (concmem.measure, options.MeasureOptions),
        (concmem.start, options.TextOptions),
        (concmem.compare, options.Options),
    ],
    ids=["measure", "start", "compare"],
)
def test_the_signature_has_every_option(function: Callable[..., Any], declared: Any) -> None:
    """Name, type and default of each option are in the signature, and its type is in the annotations."""
    command, *given = inspect.signature(function).parameters.values()
    assert command.name in ("cmd", "commands") and command.default is command.empty
    expected = {name: (kind, option.default) for name, (kind, option) in options.declared(declared).items()}
    own = [each for each in given if each.name not in expected]
    assert not own or [(own[0].name, own[0].default), function] == [("runs", 10), concmem.compare]
    given = given[len(own) :]
    assert {each.name: (each.annotation, each.default) for each in given} == expected
    assert all(each.kind is each.KEYWORD_ONLY for each in given)
    hints = typing.get_type_hints(function)
    assert {name: hints[name] for name in expected} == {name: kind for name, (kind, _) in expected.items()}
    result = hints["return"]
    assert (typing.get_origin(result) or result) in (concmem.Measurement, concmem.Running, concmem.Comparison)


@pytest.mark.parametrize("function", [concmem.measure, concmem.start], ids=["measure", "start"])
def test_wrapping_and_reading_the_source_work(function: Callable[..., Any]) -> None:
    """The signature is made on demand, which neither `functools.wraps` nor `inspect.getsource` must notice."""

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        raise NotImplementedError

    assert inspect.signature(wrapper) == inspect.signature(function)
    assert f"def {function.__name__}(cmd: Command, **options: Unpack[" in inspect.getsource(function)
    assert "inspect" not in modules("-c", "import concmem.options")


def test_help_has_the_text_of_every_option() -> None:
    """`help(concmem.measure)` shows the default and the text of each option, in lines of at most 120 characters."""
    text = pydoc.render_doc(concmem.measure, renderer=pydoc.plaintext)
    words = " ".join(text.split())
    for name, (_, option) in EVERY.items():
        assert f" {name}: {' '.join(option.text.split())}" in words
        assert f" = {option.default!r}" in words
    assert "{options}" not in text
    _, *body = text.split("Run a command, wait")
    assert max(map(len, "".join(body).splitlines())) <= 120


@pytest.mark.parametrize("function", [concmem.measure, concmem.start], ids=["measure", "start"])
def test_an_unknown_option_is_a_type_error(function: Callable[..., Any], tmp_path: Path) -> None:
    """The error is worded as Python's own, and nothing runs."""
    ran = tmp_path / "ran"
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected keyword argument 'intervall_s'$"):
        function(["touch", str(ran)], intervall_s=1)
    with pytest.raises(TypeError, match="positional"):
        function(["touch", str(ran)], 0.001)
    assert not ran.exists()


def test_start_has_no_check() -> None:
    """Only `measure` waits for the exit status, so only it has `check`."""
    with pytest.raises(TypeError, match=r"^start\(\) got an unexpected keyword argument 'check'$"):
        concmem.start(["true"], check=True)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", [name for name, (_, option) in EVERY.items() if option.check])
def test_a_check_accepts_the_default_and_names_the_option(name: str) -> None:
    """Each check accepts the option's default, and refuses another type with the option's name."""
    option = EVERY[name][1]
    assert option.check is not None
    option.check(name, option.default)
    with pytest.raises(InvalidRequest, match=f"^{name} must be "):
        option.check(name, [])


def test_the_command_has_every_option_that_is_spelled() -> None:
    """``concmem run`` passes each under its own name, with the declared help and default."""
    from concmem.cli.run import run

    by_name = {each.name: each for each in run.params if isinstance(each, click.Option)}
    context = click.Context(run)
    for name, (_, option) in EVERY.items():
        spelled = option.spelled
        if spelled is None:
            assert name not in by_name
            continue
        of_command = by_name[name]
        assert spelled.name.split("/") == [*of_command.opts, *of_command.secondary_opts]
        assert of_command.help == spelled.help
        default = of_command.get_default(context)
        parsed = spelled.parse(default) if spelled.parse and default is not None else default
        assert spelled.default is True or parsed == option.default


@pytest.mark.parametrize(
    "words",
    [
        ["true"],
        ["-q", "--", "-q", "--json", "x"],
        ["--quiet", "--interval", "5ms", "--timeout=2m", "--memory-limit", "1G", "true", "-q"],
        ["--no-cgroup", "--cgroup-limit=50M", "true"],
        [
            "--no-cgroup",
            "--taskstats",
            "--no-taskstats",
            "--windows",
            "--exact",
            "--leftover=leave",
            "sh",
            "-c",
            "exit",
        ],
        ["--cwd", "--", "--cwd=/tmp=x", "-", "a"],
        ["--cwd", "", "true"],
    ],
    ids=" ".join,
)
def test_arguments_are_parsed_as_by_click(words: list[str]) -> None:
    """What is parsed without click equals what click makes of it."""
    from concmem.cli._quick import parse_run
    from concmem.cli.run import run

    others = {"explain": False, "json_path": None, "timeline_path": None, "plot_path": None}
    assert others | (parse_run(["run", *words]) or {}) == run.make_context("run", list(words)).params


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-q"],
        ["--help", "true"],
        ["--interval"],
        ["--interval", "soon", "true"],
        ["--leftover", "keep", "true"],
        ["--windows=yes", "true"],
        ["--json", "-", "true"],
        ["-qx", "true"],
        ["--=", "true"],
        ["--inter", "1ms", "true"],
    ],
    ids=" ".join,
)
def test_errors_and_other_options_are_left_to_click(words: list[str]) -> None:
    """Help, errors and output files are not parsed without click."""
    from concmem.cli._quick import parse_run

    assert parse_run(["run", *words]) is None
    assert parse_run(["bench", *words]) is None


def test_every_source_on_request_has_a_switch() -> None:
    """An option without a value requests it, so that doctor needs no list of its own."""
    ffi, _ = native()
    head = layout()[0]
    tracks = head.tracks[0 : head.ntracks]
    on_request = {ffi.string(track.source).decode() for track in tracks if track.on_request}
    assert len(on_request) >= 4
    for source in on_request:
        (name,) = options.switches_of(frozenset({source}))
        assert options.sources_of({name: True}) == {source}  # type: ignore[misc]
    assert options.switches_of(frozenset({"statm"})) == {}


def test_constants_are_those_of_subprocess() -> None:
    """PIPE, STDOUT and DEVNULL can be mixed with those of `subprocess`."""
    assert (concmem.PIPE, concmem.STDOUT, concmem.DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


TYPED = """
import concmem
m: concmem.Measurement = concmem.measure(["true"], interval_s=0.01, leftover="kill", stdout=concmem.PIPE, check=True)
r: concmem.Running = concmem.start(["true"], timeout_s=1)
concmem.measure(["true"], interval=0.01)
concmem.measure(["true"], leftover="keep")
concmem.start(["true"], check=True)
small: bool = m.peak < "200 MB" and m.peak <= 1 << 30 and not m.peak > m.root_peak_rss and m.peak.compare(1.5) == "over"
text: str | None = concmem.measure(["true"], stdout=concmem.PIPE, text=True).stdout
text = concmem.measure(["true"], input="a", encoding="utf-8").stdout
text = concmem.start(["true"], errors="replace").communicate("a")[0]
content: bytes | None = m.stdout
content = r.wait().stdout
content = concmem.start(["true"]).communicate(b"a", timeout=1)[0]
text = r.communicate()[0]
code: int | None = m.exit.returncode or r.poll() or r.returncode
"""


@pytest.mark.slow
def test_type_checkers_know_every_option(tmp_path: Path) -> None:
    """
    Mypy accepts the options, and refuses a wrong name and a wrong type in the line where it is.

    It knows from ``text``, ``encoding`` and ``errors`` whether pipes have text or bytes.
    """
    pytest.importorskip("mypy", reason="mypy is missing: pip install mypy")
    (tmp_path / "user.py").write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--explicit-package-bases",
        "--follow-imports=silent",
        "user.py",
    ]
    folder = Path(concmem.__file__).parents[1]  # mypy finds an installed concmem by itself, and not an editable one
    environment = os.environ | ({} if folder.name == "site-packages" else {"MYPYPATH": str(folder)})
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    errors: dict[str, str] = {}
    for line in done.stdout.splitlines():
        where, _, error = line.partition(": error: ")
        if error:
            errors[where] = errors.get(where, "") + error
    expected = {5: '"interval"', 6: '"measure"', 7: '"check"', 15: "Incompatible types"}
    assert list(errors) == [f"user.py:{number}" for number in expected], done.stdout + done.stderr
    assert all(text in error for text, error in zip(expected.values(), errors.values(), strict=True))


NOT_NEEDED = ("numpy", "psutil", "rich", "typing_extensions", "cattrs", "altair")


def modules(*arguments: str) -> set[str]:
    """Return the modules that Python imports when it is called with these arguments."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=300, check=True
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_importing_concmem_imports_no_large_module() -> None:
    """`import concmem` imports only itself; with everything that `measure` needs it needs none of the large modules."""
    assert modules("-c", "import concmem") - modules("-c", "pass") == {"concmem", "concmem._version"}
    found = modules("-c", "from concmem import *")
    assert {"concmem.running", "concmem.stored"} <= found
    assert not found & set(NOT_NEEDED)


def test_a_quiet_run_imports_no_large_module(tmp_path: Path) -> None:
    """``concmem run -q`` needs none either, nor click and attrs, and a timeline as CSV adds only these two."""
    late = {"click", "attr", "inspect", "concmem.model"}
    for output, also in (([], late), (["--timeline", str(tmp_path / "rows.csv")], set[str]())):
        found = modules("-m", "concmem", "run", "-q", *output, "--", "true")
        assert "concmem.running" in found
        assert not found & {*NOT_NEEDED, *also}


def test_the_printed_figures_need_no_large_module() -> None:
    """``concmem run`` prints figures and curve without numpy, psutil, Rich and click."""
    found = modules("-m", "concmem", "run", "--", "sleep", "0.1")
    assert "concmem.cli._layout" in found
    assert not found & {*NOT_NEEDED, "click"}
