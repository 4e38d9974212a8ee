from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from stored_studies import store_study

import concmem
from concmem.cli.bench import bench as bench_command
from concmem.model import Figure, Measurement
from concmem.report.charts.base import CROSS, spread_out
from concmem.report.charts.theme import DARK, LIGHT, looks
from concmem.report.charts.timelines import differences, pack_run, select_points
from concmem.report.page import sentences as words
from concmem.report.page.build import page
from concmem.study import Entry, Plan, Run, Study, costs, rows
from concmem.study.results.results import Results

altair = pytest.importorskip("altair", reason="altair is not installed (pip install 'concmem[report]')")
pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")

MIB = 1 << 20
HOSTILE = "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 1'> & 'so' \"on\""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GROWS = "import time; kept = []\nfor _ in range(30): kept.append(bytearray(2 << 20)); time.sleep(0.01)"
# Peaks in MiB of every run, or the reason for no figure.
CELLS: dict[tuple[str, int], list[float] | str] = {
    ("rust-tokio", 1): [2.8, 2.9, 2.7, 2.8, 2.8],
    ("rust-tokio", 1_000): [3.2, 3.3, 3.2, 3.25, 3.2],
    ("rust-tokio", 1_000_000): [437, 438, 437, 440, 436],
    ("rust-threads", 1): [2.2, 2.2, 2.1, 2.2, 2.2],
    ("rust-threads", 1_000): [11.6, 11.7, 11.5, 11.6, 11.6],
    ("rust-threads", 1_000_000): HOSTILE,
    ("java-threads", 1): [41, 41.5, 41, 42, 41],
    ("java-threads", 1_000): [80, 99, 90, 94, 92],
    ("java-threads", 1_000_000): "could not start thread 32425 (exit code 1); kernel.pid_max is 32768",
    ("<b>odd</b>", 1): [20, 21],
    ("<b>odd</b>", 1_000): [22, 22.1],
    ("<b>odd</b>", 1_000_000): [1300, 1310],
}
GOOD = sum(not isinstance(peaks, str) for peaks in CELLS.values())
LANGUAGES = {"rust-tokio": "Rust", "rust-threads": "Rust", "java-threads": "Java", "<b>odd</b>": "Odd"}


@pytest.fixture(scope="module")
def grown() -> Measurement:
    """Return a real measurement of a program that grows for 0.3 s."""
    return concmem.measure([sys.executable, "-c", GROWS])


@pytest.fixture(scope="module")
def study(grown: Measurement, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a stored study with failures, a hostile reason, a hostile name, a wide range and too few runs."""
    plan = Plan(programs=tuple(LANGUAGES), tasks=(1, 1_000, 1_000_000), runs=5, sleep_s=0.1, seed=7)
    runs = []
    for (program, tasks), peaks in CELLS.items():
        common: dict[str, Any] = {"program": program.strip("<b>/"), "tasks": tasks, "sleep_s": 0.1}
        if isinstance(peaks, str):
            runs.append(Run(index=0, status="failed", reason=peaks, **common))
            continue
        for index, mib in enumerate(peaks):
            made = attrs.evolve(grown, peak=Figure(int(mib * MIB), "bounded", "wait4 ru_maxrss", error_bytes=4096))
            held = Figure(int(mib * MIB * 0.9), "sampled", "statm")
            times = {"launch_s": 0.05 + tasks / 1e6, "done_s": 0.31 + tasks / 1e6}
            runs.append(Run(index=index, status="ok", plateau=held, measurement=made, **times, **common))
    plan = attrs.evolve(plan, programs=tuple(name.strip("<b>/") for name in LANGUAGES))
    made_up = Study(
        path=tmp_path_factory.mktemp("page") / "study",
        plan=plan,
        host=grown.host,
        programs=tuple(
            Entry(name.strip("<b>/"), name, language, "thread", "article", False, f"{language} 1.0")
            for name, language in LANGUAGES.items()
        ),
        runs=tuple(runs),
        started_at="2020-01-01T00:00:00+00:00",
        version="0.1",
    )
    return store_study(made_up)


@pytest.fixture(scope="module")
def index(study: Study) -> Path:
    """Return the path of the page."""
    path = study.path / "index.html"
    path.write_text(page(Results(study)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install 'concmem[test]')")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@attrs.frozen
class Opened:
    """An open page, with its console messages and requests."""

    page: Any
    said: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)

    def count(self, selector: str) -> int:
        """Return the number of elements that match a selector."""
        return int(self.page.locator(selector).count())


@pytest.fixture
def opened(browser: Any, index: Path) -> Iterator[Callable[..., Opened]]:
    """Open the page and wait for its charts; record its console messages and requests."""
    contexts = []

    def open_it(path: Path = index, width: int = 1400, scheme: str = "light") -> Opened:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        contexts[-1].set_default_timeout(300_000)  # milliseconds, on a busy machine
        found = Opened(contexts[-1].new_page())
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("request", lambda request: found.asked.append(request.url))
        found.page.goto(path.as_uri())
        charts = found.count("[data-chart]")
        found.page.wait_for_function(f"document.querySelectorAll('[data-chart] svg').length === {charts}")
        return found

    yield open_it
    for context in contexts:
        context.close()


def test_the_page_loads_without_errors_and_requests(opened: Callable[..., Opened], index: Path) -> None:
    """The console is empty, and the only request is for the page itself."""
    found = opened()
    assert found.said == []
    assert found.asked == [index.as_uri()]
    assert found.page.title().replace("\u00a0", " ") == words.headline(rows(_loaded(index)))


def _loaded(index: Path) -> Study:
    return concmem.study.load_study(index.parent)


def test_every_row_has_its_mark(opened: Callable[..., Opened], study: Study) -> None:
    """The numbers of bars, points, crosses and costs are those of the rows and programs."""
    found = opened()
    for n, tasks in enumerate(study.plan.tasks):
        peaks = [peaks for (_, of), peaks in CELLS.items() if of == tasks]
        failed = sum(isinstance(each, str) for each in peaks)
        assert found.count(f"#chart-bars-{n} g.bars_marks > path") == len(peaks) - failed
        assert found.count(f"#chart-bars-{n} g.crosses_marks > text") == failed
    assert found.count("#chart-growth g.dots_marks > path") == GOOD
    assert found.count("#chart-growth g.crosses_marks > text") == 2
    for part in ("each", "floor"):
        assert found.count(f"#chart-cost-{part} g.points_marks > path") == len(costs(study)) == len(LANGUAGES)
    assert found.count("#all tbody tr") == len(CELLS)
    assert found.count("#claims li") > 10


def test_bars_are_ordered_by_amount(opened: Callable[..., Opened]) -> None:
    """The least is on top, and lengths are proportional to amounts."""
    found = opened()
    boxes = [bar.bounding_box() for bar in found.page.locator("#chart-bars-0 g.bars_marks > path").all()]
    ordered = sorted(boxes, key=lambda box: box["y"])
    widths = [box["width"] for box in ordered]
    assert widths == sorted(widths)
    assert widths[-1] / widths[0] == pytest.approx(41 / 2.2, rel=0.05)


def test_output_of_programs_is_shown_as_text(opened: Callable[..., Opened], index: Path) -> None:
    """Tags in a reason or a title are shown as text, in sentences, charts and tables."""
    found = opened()
    assert found.page.evaluate("window.taken") is None
    assert found.count("img") == 0 and found.count("main b b, h1 b, figcaption b, th b") == 0
    assert HOSTILE in found.page.locator("#all").text_content()
    assert "<b>odd</b>" in found.page.locator("#chart-bars-0").text_content()
    assert found.page.locator("#all tbody th", has_text="<b>odd</b>").count() == 3
    assert "unsafe-eval" not in index.read_text().split("</head>")[0]


def test_the_table_is_filtered(opened: Callable[..., Opened]) -> None:
    """Only rows with every word are shown and counted. An empty filter shows all rows."""
    found = opened()
    shown = found.page.locator("#all tbody tr:visible")

    def filtered(text: str) -> list[str]:
        found.page.fill("#filter", text)
        return [f"{row.locator('th').inner_text()} {row.locator('td').first.inner_text()}" for row in shown.all()]

    assert filtered("rust 1 000 000") == ["rust-tokio 1\u00a0000\u00a0000", "rust-threads 1\u00a0000\u00a0000"]
    assert found.page.inner_text("#shown") == f"2 of {len(CELLS)} rows"
    assert filtered("nothing like it") == []
    assert len(filtered("")) == len(CELLS)


def test_the_table_is_sorted_by_its_headings(opened: Callable[..., Opened]) -> None:
    """Rows are sorted by number, ascending, then descending; empty cells are last. The keyboard works, too."""
    found = opened()
    heading = found.page.locator("#all thead th", has_text="peak").first
    column = found.page.locator("#all thead th").all_inner_texts().index(heading.inner_text())

    def keys() -> list[float | None]:
        cells = found.page.locator("#all tbody tr").all()
        values = [row.locator("th, td").nth(column).get_attribute("data-key") for row in cells]
        return [None if value is None else float(value) for value in values]

    for state, reverse in (("ascending", False), ("descending", True)):
        heading.locator("button").focus()
        found.page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == state
        *there, last, last_but_one = keys()
        assert (last, last_but_one) == (None, None)
        assert there == sorted((value for value in there if value is not None), reverse=reverse) and len(there) == GOOD
    other = found.page.locator("#all thead th").first
    other.locator("button").click()
    assert (heading.get_attribute("aria-sort"), other.get_attribute("aria-sort")) == ("none", "ascending")


def test_unreliable_cells_have_a_warning(opened: Callable[..., Opened]) -> None:
    """Only ranges above 10 % of the median and rows with fewer than 5 runs have a warning."""
    found = opened()
    assert found.page.locator("#all .range .warning").all_inner_texts() == ["20.7%: over 10%"]
    assert found.page.locator("#all .runs .warning").all_inner_texts() == ["fewer than 5"] * 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out(opened: Callable[..., Opened], scheme: str) -> None:
    """In both schemes text has a contrast of at least 4.5, also in charts, and marks have at least 2."""
    found = opened(scheme=scheme)
    colours = found.page.evaluate(
        """() => {
          const of = (selector, name) => [...new Set([...document.querySelectorAll(selector)]
            .filter((element) => element.textContent !== "\u00d7")  // a cross is a mark
            .map((element) => getComputedStyle(element)[name]))];
          return {
            paper: of("body", "backgroundColor"),
            text: [...of("p, h1, h2, td, th, li, dt, dd, summary, nav a, small, label", "color"),
                   ...of("svg text", "fill")],
            marks: [...of("g.bars_marks > path, g.dots_marks > path", "fill")],
          };
        }"""
    )
    (paper,) = colours["paper"]
    assert paper == _rgb((LIGHT if scheme == "light" else DARK).paper)
    assert len(colours["text"]) > 2 and len(colours["marks"]) == 3
    assert min(_contrast(colour, paper) for colour in colours["text"]) >= 4.5
    assert min(_contrast(colour, paper) for colour in colours["marks"]) >= 2


def _rgb(code: str) -> str:
    return f"rgb({', '.join(str(int(code[i : i + 2], 16)) for i in (1, 3, 5))})"


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, as the WCAG define it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("width", [400, 768, 1400])
def test_nothing_is_wider_than_the_window(opened: Callable[..., Opened], width: int) -> None:
    """Even on a phone the page does not scroll sideways, and every chart fits its container."""
    found = opened(width=width)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in found.page.locator("[data-chart]").all():
        drawn, place = chart.locator("svg").bounding_box(), chart.bounding_box()
        assert drawn["width"] <= place["width"] + 0.5 and drawn["x"] + drawn["width"] <= width


def test_a_timeline_can_be_selected_and_enlarged(opened: Callable[..., Opened]) -> None:
    """Program and size select a run. A drag across the strip or two numbers select a part, a button the whole."""
    found = opened()
    found.page.select_option("#of-program", "java-threads")
    assert found.page.locator("#of-tasks option").all_inner_texts() == ["1", "1\u00a0000"]
    found.page.select_option("#of-tasks", "1")
    found.page.wait_for_function("document.getElementById('timeline-title').textContent.includes('with 1 task:')")
    assert found.page.inner_text("#timeline-title").startswith("java-threads with 1 task: at most ")

    def part() -> tuple[float, float]:
        return float(found.page.input_value("#from")), float(found.page.input_value("#to"))

    def ticks() -> list[float]:
        texts = found.page.locator("#chart-timeline g.role-axis-label text").all_text_contents()
        return sorted(float(text) for text in texts if not text.endswith("B"))

    def drawn(holds: Callable[[list[float]], bool]) -> bool:
        """Wait until the chart's numbers are as expected: it is drawn a little later."""
        deadline_s = time.monotonic() + 60
        while not holds(ticks()) and time.monotonic() < deadline_s:
            found.page.wait_for_timeout(20)
        return holds(ticks())

    whole, all_ticks = part(), ticks()
    assert whole[0] == 0 and whole[1] > 0.3
    found.page.locator("#chart-overview").scroll_into_view_if_needed()
    box = found.page.locator("#chart-overview svg").bounding_box()
    found.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20)
    found.page.mouse.down()
    found.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=5)
    found.page.mouse.up()
    assert drawn(lambda ticks: ticks != all_ticks and all(part()[0] <= tick <= part()[1] for tick in ticks))
    begin, end = part()
    assert 0 < begin < end < whole[1] and end - begin == pytest.approx(0.22 * whole[1], rel=0.2)
    found.page.fill("#from", "0.1")
    found.page.fill("#to", "0.2")
    found.page.keyboard.press("Enter")
    assert drawn(lambda ticks: part() == (0.1, 0.2) and all(0.1 <= tick <= 0.2 for tick in ticks))
    # The geometry alone: a bounding box in pixels has the stroke's mitres in it, which are not drawn.
    marked, strip = found.page.evaluate(
        """() => ["#chart-overview g.part_brush > path", "#chart-overview svg path"]
          .map((selector) => document.querySelector(selector).getBBox()).map(({x, width}) => [x, width])"""
    )
    assert marked == pytest.approx([0.1 / whole[1] * strip[1]] * 2, rel=0.01), "the strip shows the part"
    found.page.click("#whole")
    assert drawn(lambda ticks: part() == whole and ticks == all_ticks)
    assert found.said == []


def test_all_programs_over_time(opened: Callable[..., Opened]) -> None:
    """Each program has one line and its name, at the selected number of tasks."""
    found = opened()
    for tasks in ("1000000", "1"):
        found.page.select_option("#of-all", tasks)
        programs = len({program for (program, of), peaks in CELLS.items() if of == int(tasks) and peaks != str(peaks)})
        found.page.wait_for_function(
            f"document.querySelectorAll('#chart-together g.names_marks text').length === {programs}"
        )
        assert found.count("#chart-together g[class*='runs_marks'] > path") == programs
    said = found.page.inner_text("#together-title")
    assert "take longest: up to " in said and found.said == [], "all have the same run: a tie"


def test_a_failed_run_has_a_cross(
    opened: Callable[..., Opened], make_study: Any, grown: Measurement, tmp_path: Path
) -> None:
    """A good run is shown first. A failed run has a cross at its end, and the reason."""
    made = make_study("failed", {("lean", 1): [2.0, 2.0], ("lean", 1000): "no more", ("fat", 1): "broken"})
    runs = []
    for run in made.runs:
        fails = run.program == "fat" or run.tasks == 1000 or run.index == 1
        reason = {"status": "failed", "reason": run.reason or "late"} if fails else {}
        runs.append(attrs.evolve(run, measurement=grown, **reason))
    store_study(attrs.evolve(made, runs=tuple(runs)))
    path = made.path / "index.html"
    path.write_text(page(Results(concmem.study.load_study(made.path))), encoding="utf-8")
    found = opened(path)
    found.page.locator("#timeline-title", has_text="with 1 task:").wait_for()
    assert "failed" not in found.page.inner_text("#timeline-title")
    assert found.page.input_value("#of-program") == "lean" and found.page.input_value("#of-all") == "1"
    assert found.page.locator("#of-run option").all_inner_texts() == ["1", "2 (failed)"]
    assert found.page.locator("#chart-timeline text", has_text=CROSS).count() == 0
    assert "a cross marks the end of a failed run (Fat)" in found.page.inner_text("#together-title")
    assert found.page.locator("#chart-together text", has_text=CROSS).count() == 2, "at its end and at its name"
    # By its label: a value of "1" is also the label of the first run, and Playwright takes either.
    found.page.select_option("#of-run", label="2 (failed)")
    found.page.locator("#timeline-title", has_text="; it failed: late").wait_for()
    found.page.locator("#chart-timeline text", has_text=CROSS).wait_for()
    (cross,) = (each.bounding_box() for each in found.page.locator("#chart-timeline text", has_text=CROSS).all())
    plot = found.page.locator("#chart-timeline svg path").first.bounding_box()
    assert cross["x"] + cross["width"] <= plot["x"] + plot["width"] + 1, "the whole of it is seen"
    assert found.said == []


def test_the_page_can_be_printed(opened: Callable[..., Opened], study: Study, tmp_path: Path) -> None:
    """Printed, also from a dark screen: white paper, no controls, no chart wider than its container."""
    found = opened(scheme="dark", width=794)
    found.page.emulate_media(media="print", color_scheme="dark")
    assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == _rgb(LIGHT.paper)
    assert not found.page.locator(".controls").first.is_visible() and not found.page.locator("nav").is_visible()
    for chart in found.page.locator("[data-chart]:visible").all():
        assert chart.locator("svg").bounding_box()["width"] <= chart.bounding_box()["width"] + 0.5
    pdf = found.page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF-") and len(pdf) > 50_000


def test_a_page_without_timelines(opened: Callable[..., Opened], study: Study, tmp_path: Path) -> None:
    """The page of a study without timelines has a sentence in their place. The rest is unchanged."""
    shutil.copytree(study.path, tmp_path / "copy", ignore=shutil.ignore_patterns("*.npz"))
    path = tmp_path / "copy" / "index.html"
    path.write_text(page(Results(concmem.study.load_study(path.parent))), encoding="utf-8")
    found = opened(path)
    assert "timelines of this study's runs are not in its directory" in found.page.inner_text("#timelines")
    assert found.said == [] and found.count("#chart-timeline") == 0
    assert found.count("#chart-growth g.dots_marks > path") == GOOD


@pytest.mark.parametrize("workload", ["spawn", "channel"])
def test_other_workloads_have_a_page(
    opened: Callable[..., Opened], study: Study, tmp_path: Path, workload: str
) -> None:
    """The page names the tasks and the rate of its workload, and nothing of other workloads."""
    runs = tuple(attrs.evolve(run, rate_per_s=1e6 / run.tasks if run.peak else None) for run in study.runs)
    other = attrs.evolve(study, plan=attrs.evolve(study.plan, workload=workload), runs=runs)
    path = tmp_path / "index.html"
    path.write_text(page(Results(other)), encoding="utf-8")
    found = opened(path)
    assert found.said == []
    rate = {"spawn": "Tasks a second", "channel": "Messages a second"}[workload]
    assert rate in found.page.inner_text("#start")
    assert found.count("#chart-start-0 g.dots_marks > path") == GOOD
    assert f"--workload {workload}" in found.page.inner_text("#repeat pre")
    assert "sleep 0.1 s" not in found.page.inner_text("header")


def test_a_study_without_a_figure_has_a_page(opened: Callable[..., Opened], study: Study, tmp_path: Path) -> None:
    """A study in which nothing could run has a page, and so does a study that has just begun."""
    for name, runs in (
        ("failed", [attrs.evolve(run, status="failed", reason="no", measurement=None) for run in study.runs]),
        ("begun", study.runs[:2]),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(page(Results(attrs.evolve(study, path=tmp_path, runs=tuple(runs)))), encoding="utf-8")
        found = opened(path)
        assert found.said == [] and found.count("#all tbody tr") == len(CELLS)
    assert found.page.locator("#all td.peak", has_text="not run").count() == len(CELLS) - 1


@pytest.mark.parametrize("width", [400, 1400])
def test_names_of_many_programs_do_not_overlap(
    opened: Callable[..., Opened], make_study: Any, tmp_path: Path, width: int
) -> None:
    """With 30 programs no names overlap, and nothing is wider than the window."""
    cells = {(f"program-{i}", tasks): [3 + i / 9 + tasks / 9e3] * 5 for i in range(30) for tasks in (1, 1_000, 10_000)}
    path = tmp_path / "index.html"
    path.write_text(page(Results(make_study("many", cells))), encoding="utf-8")
    found = opened(path, width=width)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in ("growth", "start-0"):
        names = found.page.locator(f"#chart-{chart} g.names_marks > text")
        boxes = sorted((name.bounding_box() for name in names.all()), key=lambda box: box["y"])
        assert len(boxes) == 30
        assert all(above["y"] + 11 <= below["y"] for above, below in itertools.pairwise(boxes))


def test_selected_points_keep_every_maximum() -> None:
    """The largest value with its time, both ends, and the least and largest of every span are selected."""
    generator = np.random.default_rng(3)
    for length in (1, 2, 3, 17, 1_000, 100_000):
        t_s = np.sort(generator.uniform(0, 10, length))
        values = generator.integers(0, 1 << 40, length)
        values[generator.integers(length)] = 1 << 41
        found = select_points(t_s, values, 50)
        assert (np.diff(found) > 0).all() and len(found) <= 4 * 50
        assert values[found].max() == 1 << 41 and t_s[found][values[found].argmax()] == t_s[values.argmax()]
        assert (found[0], found[-1]) == (0, length - 1)
        edges = np.linspace(t_s[0], t_s[-1], 51)
        for low, high in itertools.pairwise(edges):
            all_there, left = ((t >= low) & (t < high) for t in (t_s, t_s[found]))
            if all_there.any():
                assert values[found][left].max() == values[all_there].max()
                assert values[found][left].min() == values[all_there].min()
    assert len(select_points(np.empty(0), np.empty(0, dtype=np.int64))) == 0


def test_a_constant_curve_needs_few_points() -> None:
    """A constant curve needs its two ends; a spike needs a few points more."""
    t_s = np.arange(10_000) / 1000
    flat = np.full(10_000, 7 << 20)
    assert list(select_points(t_s, flat)) == [0, 9_999]
    flat[5_000] = 8 << 20
    found = select_points(t_s, flat)
    assert 5_000 in found and len(found) <= 6


def test_a_timeline_can_be_read_from_the_page(study: Study, grown: Measurement) -> None:
    """The stored differences give the peak to 1 KiB and its time to 0.1 ms."""
    found = pack_run(study, next(run for run in study.runs if run.status == "ok"))
    assert found is not None
    times, amounts = (np.cumsum(column) for column in found["rss"])
    timeline = grown.timeline
    assert amounts.max() == timeline.rss_bytes.max() // 1024
    assert times[amounts.argmax()] / 10_000 == pytest.approx(timeline.peak_t_s, abs=6e-5)


def test_a_page_of_180_runs_stays_below_6_mb(study: Study, index: Path) -> None:
    """The page stays small even if all readings differ from the ones before."""
    generator = np.random.default_rng(5)
    t_s = np.arange(60_000) / 1000
    values = generator.integers(0, 4 << 30, 60_000)
    tracks = {"rss": differences(t_s, values), "pss": differences(t_s[::100], values[::100])}
    worst, there = (len(json.dumps(each, separators=(",", ":"))) for each in (tracks, _data(index)["timelines"]))
    without = len(index.read_bytes()) - there
    assert without + 180 * worst < 6_000_000


def _data(index: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', index.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_chart_is_valid(index: Path) -> None:
    """Charts are drawn without checks against Vega-Lite's schema, and each conforms to it."""
    charts = _data(index)["charts"]
    assert charts
    for chart in charts.values():
        altair.Chart.from_dict(chart)


def test_the_page_depends_only_on_the_study(index: Path) -> None:
    """A new process makes the same page, byte for byte."""
    code = (
        "import sys; from concmem.report.page.build import page; from concmem.study import load_study; "
        "from concmem.study.results.results import Results; "
        "sys.stdout.buffer.write(page(Results(load_study(sys.argv[1]))).encode())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(index.parent)], capture_output=True, check=True, timeout=300)
    again = page(Results(_loaded(index))).encode()
    assert done.stdout == again


@pytest.mark.parametrize(
    "plan",
    [
        Plan(programs=("go", "csharp"), seed=5),
        Plan(
            programs=("go",), tasks=(1, 1500, 10_000, 2_000_000), runs=5, runs_at=((2_000_000, 3),), sleep_s=2.5, seed=1
        ),
        Plan(programs=("go",), workload="spawn", seed=0),
    ],
)
def test_the_commands_repeat_the_study(plan: Plan, make_study: Callable[..., Study]) -> None:
    """The plan of the command that the page shows is that of the study."""
    install, again, report = words.commands(attrs.evolve(make_study("s", {("go", 1): [1]}), plan=plan))
    assert (install, report) == ("concmem toolchains install", "concmem report again")
    given = bench_command.make_context("bench", again.split()[2:]).params
    runs, runs_at = given.pop("runs")
    names = {field.name for field in attrs.fields(Plan)}
    options = {name: value for name, value in given.items() if name in names and value not in (None, ())}
    assert Plan(**options, runs=runs, runs_at=runs_at) == plan


def test_further_programs_are_named_in_the_install_command(make_study: Callable[..., Study]) -> None:
    """By default only the article's ten and programs of other folders would be installed."""
    plan = {"programs_dirs": ("/my programs",)}
    study = make_study("s", {("go", 1): [1], ("zig", 1): [1]}, plan=plan, entry={"variant": "further"})
    assert words.commands(study)[0] == "concmem toolchains install go zig --programs-dir '/my programs'"


def test_each_program_looks_like_no_other() -> None:
    """Programs with the same colour differ in shape and dash. Programs of one language share its colour."""
    found = looks({f"p{i}": f"language {i % 15}" for i in range(40)}, LIGHT)
    assert len({(look.colour, look.shape) for look in found.values()}) == 40
    assert len({(look.colour, look.dash) for look in found.values()}) == 40
    assert found["p0"].colour == found["p15"].colour


def test_names_are_spread_out() -> None:
    """Names keep their order and a least distance, stay within the chart, and move as little as possible."""
    assert spread_out([1, 5, 9], 2, 0, 10) == [1, 5, 9]
    assert spread_out([5, 5], 2, 0, 10) == [4, 6]
    assert spread_out([0, 0, 0], 2, 0, 10) == [0, 2, 4]
    assert spread_out([10, 9, 10], 2, 0, 10) == [8, 6, 10]
    assert spread_out([3, 3, 3], 9, 0, 10) == [0, 5, 10]
    generator = np.random.default_rng(1)
    for _ in range(100):
        wanted = list(generator.uniform(0, 100, 12))
        found = spread_out(wanted, 5, 0, 100)
        assert np.argsort(found, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()
        assert np.diff(sorted(found)).min() > 5 - 1e-9 and min(found) > -1e-9 and max(found) < 100 + 1e-9


def test_titles_are_findings(study: Study) -> None:
    """The titles of the page state what the figures show."""
    every = rows(study)
    assert words.headline(every) == (
        "1 000 000 tasks take 437 MiB in rust-tokio, 1.27 GiB in <b>odd</b>; two programs cannot run them"
    )
    assert words.bars_title(every) == "rust-threads needs least with 1 task, rust-tokio with 1 000 000"
    assert words.growth_title(every) == "From 1 task to 1 000 000, rust-tokio grows 156-fold, <b>odd</b> 64-fold"
    assert words.table_title(every) == "10 of 12 rows have a figure, 3 of fewer than 5 runs, 1 with a range above 10%"
    assert words.timelines_title(study).startswith(
        "rust-threads and rust-tokio peak highest above the memory that they hold"
    )
    none = [row for row in every if row.median_bytes is None]
    assert words.headline(none) == "At 1 000 000 tasks, no program has a figure"
