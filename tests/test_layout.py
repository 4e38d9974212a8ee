"""The modules of concmem: imports make no circle, the package has few entries, and names do not clash."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import concmem

FOLDER = Path(concmem.__file__).parent
MOST_ENTRIES = 30
CSRC = Path(__file__).resolve().parent.parent / "csrc"


def modules() -> dict[str, Path]:
    """Return the file of each module by its name. In a wheel the study's programs are in the package, too."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        if FOLDER / "programs" in path.parents:
            continue
        parts = path.relative_to(FOLDER.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that are imported when the code runs, also inside functions."""
    for child in ast.iter_child_nodes(node):
        if is_for_types(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in known)
        elif isinstance(child, ast.ImportFrom) and child.module in known:
            full = (f"{child.module}.{alias.name}" for alias in child.names)
            yield from (name if name in known else child.module for name in full)
        else:
            yield from imported(child, known)


def test_imports_make_no_circle() -> None:
    """No module imports itself through others. Imports inside functions count, imports for types do not."""
    known = modules()
    graph = {name: set(imported(ast.parse(path.read_text()), known)) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_relative_imports_are_not_used() -> None:
    """The test above finds absolute imports only."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), name


def test_the_package_has_few_entries() -> None:
    """A reader sees the whole list of modules and folders at once."""
    built = {"__pycache__", "concmem-sampler", "known"}
    entries = [path.name for path in FOLDER.iterdir() if path.name not in built]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_modules_and_functions_have_different_names() -> None:
    """A package exports no name that one of its modules has: the import of one would hide the other."""
    packages = [name for name, path in modules().items() if path.name == "__init__.py"]
    for name in packages:
        package = importlib.import_module(name)
        inside = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not inside & set(getattr(package, "__all__", ())), name


def test_a_module_exports_no_name_of_its_own() -> None:
    """Only the modules of subcommands do: `concmem.cli` finds each command by the name of its module."""
    for name in modules():
        if not name.startswith("concmem.cli.") and name != "concmem.__main__":
            assert name.rpartition(".")[2] not in getattr(importlib.import_module(name), "__all__", ()), name


def test_names_are_imported_as_type_checkers_see_them() -> None:
    """Each public name comes from the module that the imports for type checkers name, and all are listed."""
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    (for_types,) = filter(is_for_types, tree.body)
    assert isinstance(for_types, ast.If)
    seen = {alias.name: node.module for node in for_types.body for alias in node.names}  # type: ignore[attr-defined]
    modules_alone = {name for name, module in seen.items() if module == "concmem"}
    known = {module.partition(".")[2] for module in seen.values()} | modules_alone
    assert set(concmem._MODULES) <= known, "a type checker does not know these public modules"
    seen = {name: module for name, module in seen.items() if name not in modules_alone}
    assert sorted({*seen, "__version__"}) == sorted(concmem.__all__)
    for name, module in seen.items():
        assert concmem._MODULE_OF[name] == module.removeprefix("concmem.")
        assert getattr(concmem, name) is getattr(importlib.import_module(module), name)
    assert set(concmem.__all__) <= set(dir(concmem))
    with pytest.raises(AttributeError, match=r"^module 'concmem' has no attribute 'measur'$"):
        concmem.measur  # type: ignore[attr-defined]  # noqa: B018


def test_public_modules_need_no_import_of_their_own() -> None:
    """After `import concmem` each public module that its names come from is there, as `concmem.errors` is."""
    script = "import concmem; print(concmem.units.format_bytes(1024), concmem.errors.__name__, concmem.parts.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["1.00", "KiB", "concmem.errors", "concmem.parts"]


@pytest.mark.skipif(not CSRC.exists(), reason="the checkout is missing: only an installed concmem is here")
def test_calls_between_c_files_make_no_circle() -> None:
    """No C file of the sampler calls itself through others. (calls.c of nolibc, which calls main, is not asked.)"""
    files = [path for folder in ("sampler", "shared", "sources") for path in (CSRC / folder).glob("*.c")]
    texts = {path: re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in files}
    definition = re.compile(r"^(?!static)[a-z][\w *]*?\b(\w+)\([^;{]*\)\n\{", re.MULTILINE)
    owner = {name: path for path, text in texts.items() for name in definition.findall(text)}
    assert len(owner) > 100
    graph: dict[str, set[str]] = {}
    for path, text in texts.items():
        called = {owner[name] for name in set(re.findall(r"\b(\w+)\(", text)) & owner.keys()}
        graph[path.name] = {other.name for other in called if other != path}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" calls ".join(reversed(error.args[1]))) from None


@pytest.mark.skipif(not CSRC.exists(), reason="the checkout is missing: only an installed concmem is here")
@pytest.mark.parametrize("page", ["development.md", "add-a-source.md"])
def test_the_map_names_files_that_exist(page: str) -> None:
    """Each file and folder that the page names exists, also if it is named without the folder of its neighbours."""
    root = CSRC.parent
    text = (root / "docs" / page).read_text()
    folders = [path for path in CSRC.iterdir() if path.is_dir()]
    parents = [
        root,
        root / "programs",
        root / "concmem",
        root / "concmem/_figures",
        root / "concmem/study",
        CSRC,
        *folders,
    ]
    for words in re.findall(r"`([^`\n]+)`", text):
        for name in words.split():
            if re.fullmatch(r"[\w/]+(/|\.(py|c|h|toml|md))", name) and "NAME" not in name and "test_X" not in name:
                known = name == "language.toml" or any((parent / name).exists() for parent in parents)
                assert known, f"{page}: {name}"


@pytest.mark.skipif(not CSRC.exists(), reason="the checkout is missing: only an installed concmem is here")
def test_the_map_has_every_folder() -> None:
    """Each folder of the package and of the C files is in the table of the page on development."""
    text = (CSRC.parent / "docs/development.md").read_text()
    for name in {name.split(".")[1] for name, path in modules().items() if path.name == "__init__.py" and "." in name}:
        assert f"`concmem/{name}/`" in text, name
    for folder in CSRC.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`{folder.name}/`" in text, folder.name


@pytest.mark.skipif(not CSRC.exists(), reason="the checkout is missing: only an installed concmem is here")
@pytest.mark.parametrize("page", ["development.md", "add-a-source.md"])
def test_the_map_names_functions_that_exist(page: str) -> None:
    """Each name with an underscore that the page has in code style is in a Python or C file."""
    root = CSRC.parent
    files = [path for ending in ("py", "c", "h") for top in (FOLDER, CSRC) for path in top.rglob(f"*.{ending}")]
    files += [path for ending in ("py", "c") for path in (root / "tests").glob(f"*.{ending}")]
    words = set(re.findall(r"\w+", " ".join(path.read_text() for path in files)))
    text = re.sub(r"```.*?```", "", (root / "docs" / page).read_text(), flags=re.DOTALL)
    for name in re.findall(r"`([A-Za-z]\w*_\w*)`", text):
        assert name in words, f"{page}: {name}"
