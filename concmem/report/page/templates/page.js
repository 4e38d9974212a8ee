"use strict";

const {charts, timelines, titles, colours} = JSON.parse(document.getElementById("data").textContent);
const ERRORS = 1; // a log level of Vega
const byId = (id) => document.getElementById(id);

/** Draw a chart into its element. Expressions are interpreted (ast), so that no text is executed as code. */
async function draw(name, datasets = {}, params = {}) {
  const chart = charts[name];
  const spec = {...chart, datasets: {...chart.datasets, ...datasets}};
  spec.params = (chart.params ?? []).map((param) => param.name in params ? {...param, value: params[param.name]} : param);
  const {view} = await vegaEmbed(byId(`chart-${name}`), spec, {
    actions: false, ast: true, renderer: "svg", mode: "vega-lite", logLevel: ERRORS,
    tooltip: {disableDefaultStyle: true},
  });
  return view;
}

// --- Timelines ------------------------------------------------------------------------------------------------------

const PER_SECOND = 10000, KIB = 1024;
const UNITS = [[1 << 30, "GiB"], [1 << 20, "MiB"], [KIB, "KiB"]];

/** Return the points of a curve from the stored differences. */
function points([times, amounts], unit) {
  let t = 0, kib = 0;
  return times.map((difference, i) => {
    t += difference;
    kib += amounts[i];
    return {t: t / PER_SECOND, amount: kib * KIB / unit};
  });
}

const three = (value) => Number(value.toPrecision(3)).toString();
const thousands = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u00a0");

/** Fill a select element with pairs of value and text. Keep the selection if it still exists; else select `otherwise`, or the last. */
function fill(select, options, otherwise) {
  const before = select.value;
  select.replaceChildren(...[...new Map(options)].map(([value, text]) => new Option(text, value)));
  select.value = before;
  if (select.selectedIndex < 0 && otherwise !== undefined) select.value = otherwise;
  if (select.selectedIndex < 0) select.selectedIndex = select.length - 1;
}

const bySize = (runs) => runs.map(({tasks}) => tasks).sort((a, b) => a - b).map((tasks) => [tasks, thousands(tasks)]);
const good = (runs) => runs.filter(({failed}) => !failed);
/** Return the largest number of tasks with a good run. */
const largest = (runs) => bySize(good(runs)).at(-1)?.[0];
/** Join names: "A", "A and B", "A, B, C and 3 more". */
const named = (all) => all.length < 2 ? all.join() : all.length < 5 ? `${all.slice(0, -1).join(", ")} and ${all.at(-1)}` : `${all.slice(0, 3).join(", ")} and ${all.length - 3} more`;
const ofTasks = (tasks) => `${thousands(tasks)} task${tasks === 1 ? "" : "s"}`;

/** Return the curve of a run in a unit. The last reading is repeated at the end of the run. */
function untilEnd({rss, end}, unit) {
  const curve = points(rss, unit);
  if (curve.at(-1).t < end) curve.push({...curve.at(-1), t: end});
  return curve;
}

/** The chart of all programs with the selected number of tasks: the first good run of each, or the first failed one. */
class Together {
  constructor() {
    this.select = byId("of-all");
    fill(this.select, bySize(timelines), largest(timelines));
    this.select.addEventListener("change", () => this.show());
    this.show();
  }

  async show() {
    const tasks = +this.select.value;
    const ofSize = timelines.filter((each) => each.tasks === tasks);
    const inOrder = [...good(ofSize), ...ofSize.filter(({failed}) => failed)];
    const first = new Map(inOrder.reverse().map((each) => [each.program, each]));
    const runs = [...first.values()].flatMap((run) => untilEnd(run, 1).map((point) => ({program: run.program, ...point})));
    const last = [...first.values()].reduce((late, each) => each.end > late.end ? each : late);
    const failed = [...first.values()].filter((each) => each.failed);
    const ends = failed.map((run) => ({program: run.program, ...untilEnd(run, 1).filter(({amount}) => amount > 0).at(-1)}));
    byId("together-title").textContent = this.title(tasks, ofSize, failed);
    await draw("together", {runs: runs.filter(({amount}) => amount > 0), failed: ends}, {tasks, to_s: last.end});
  }

  /** Name the programs that take longest, several if their runs overlap, and the programs without a good run. */
  title(tasks, ofSize, failed) {
    const spans = new Map();
    for (const {program, end} of good(ofSize)) {
      const {low, high} = spans.get(program) ?? {low: end, high: end};
      spans.set(program, {low: Math.min(low, end), high: Math.max(high, end)});
    }
    const latest = Math.max(...[...spans.values()].map(({low}) => low));
    const tied = [...spans].filter(([, {high}]) => high >= latest);
    const most = three(Math.max(...tied.map(([, {high}]) => high)));
    const long = tied.length ? [`${named(tied.map(([program]) => titles[program]))} ${tied.length === 1 ? "takes" : "take"} longest: up to ${most} s`] : [];
    const crossed = failed.length ? [`a cross marks the end of a failed run (${named(failed.map(({program}) => titles[program]))})`] : [];
    return `With ${ofTasks(tasks)}, ${[...long, ...crossed].join("; ")}`;
  }
}

/** The chart of one run, with a part that can be enlarged. */
class Timelines {
  constructor() {
    this.program = byId("of-program");
    this.tasks = byId("of-tasks");
    this.run = byId("of-run");
    this.from = byId("from");
    this.to = byId("to");
    fill(this.program, timelines.map((each) => [each.program, titles[each.program]]));
    const first = good(timelines)[0] ?? timelines[0];
    this.program.value = first.program;
    this.program.addEventListener("change", () => this.offerTasks());
    this.tasks.addEventListener("change", () => this.offerRuns());
    this.run.addEventListener("change", () => this.show());
    for (const input of [this.from, this.to]) input.addEventListener("change", () => this.zoom(+this.from.value, +this.to.value));
    byId("whole").addEventListener("click", () => this.zoom(0, this.chosen.end));
    byId("start-only").addEventListener("click", () => this.zoom(0, this.startEnd()));
    this.offerTasks();
  }

  get ofProgram() { return timelines.filter((each) => each.program === this.program.value); }
  get ofTasks() { return this.ofProgram.filter((each) => each.tasks === +this.tasks.value); }
  get chosen() { return this.ofTasks.find((each) => each.index === +this.run.value); }

  offerTasks() {
    fill(this.tasks, bySize(this.ofProgram), largest(this.ofProgram));
    this.offerRuns();
  }

  offerRuns() {
    const options = this.ofTasks.map(({index, failed}) => [index, `${index + 1}${failed ? " (failed)" : ""}`]);
    fill(this.run, options, good(this.ofTasks).at(-1)?.index);
    this.show();
  }

  /** Return the end of the part in which tasks are started; a tenth of the run if unknown. */
  startEnd() { return Math.min(this.chosen.end, this.chosen.launched ? this.chosen.launched * 1.25 : this.chosen.end / 10); }

  async show() {
    const run = this.chosen;
    const most = points(run.rss, 1).reduce((best, point) => point.amount > best.amount ? point : best);
    const [unit, name] = UNITS.find(([size]) => most.amount >= size) ?? UNITS.at(-1);
    const left = (t) => t > run.end / 2;
    const peak = {t: most.t, amount: most.amount / unit, left: left(most.t), label: `${three(most.amount / unit)} ${name} at ${three(most.t)} s`};
    const events = [[run.launched, "all started"], [run.done, "all done"]].filter(([t]) => t)
      .map(([t, label]) => ({t, label, left: left(t)}));
    const plateau = run.plateau ? [{amount: run.plateau / unit, label: `${three(run.plateau / unit)} ${name} while nothing changes`}] : [];
    const rss = untilEnd(run, unit);
    const failed = run.failed ? [rss.at(-1)] : [];
    const data = {rss, pss: points(run.pss, unit), failed, peak: [peak], events, plateau};
    const colour = colours[run.program];
    byId("timeline-title").textContent = `${titles[run.program]} with ${ofTasks(run.tasks)}: at most ${peak.label}${run.failed ? `; it failed: ${run.failed}` : ""}`;
    this.view = await draw("timeline", data, {from_s: 0, to_s: run.end, top: peak.amount * 1.2, unit: name, colour});
    this.strip = await draw("overview", {rss}, {to_s: run.end, colour});
    this.strip.addSignalListener("part", (_, {t}) => t ? this.zoom(...t, true) : this.zoom(0, run.end, true));
    this.zoom(0, run.end, true);
  }

  /** Show a part of the run. Mark it in the strip, unless it was selected there. */
  zoom(from, to, chosenThere = false) {
    const start = Math.max(0, Math.min(from, to)), end = Math.min(this.chosen.end, Math.max(from, to));
    if (!(end > start)) return;
    this.from.value = three(start);
    this.to.value = three(end);
    this.view.signal("from_s", start).signal("to_s", end).runAsync();
    if (chosenThere) return;
    const isWhole = start === 0 && end === this.chosen.end;
    this.strip.signal("part_x", isWhole ? [0, 0] : [start, end].map(this.strip.scale("strip_x"))).runAsync();
  }
}

// --- The table ------------------------------------------------------------------------------------------------------

class Table {
  constructor(table, filter, shown) {
    this.body = table.tBodies[0];
    this.headings = [...table.tHead.rows[0].cells];
    this.rows = [...this.body.rows];
    this.words = this.rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, ""));
    this.shown = shown;
    this.headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => this.sort(column)));
    filter.addEventListener("input", () => this.filter(filter.value));
    this.filter(filter.value);
  }

  /** Show the rows that contain every word. "10 000" is one word. */
  filter(text) {
    const wanted = text.toLowerCase().replace(/(\d) (?=\d{3}\b)/g, "$1").split(/\s+/).filter(Boolean);
    let count = 0;
    this.rows.forEach((row, i) => {
      row.hidden = !wanted.every((word) => this.words[i].includes(word));
      count += !row.hidden;
    });
    this.shown.textContent = `${count} of ${this.rows.length} rows`;
  }

  /** Sort ascending, then descending. Cells without a value stay last. */
  sort(column) {
    const up = this.headings[column].ariaSort !== "ascending";
    this.headings.forEach((heading, i) => { heading.ariaSort = i !== column ? "none" : up ? "ascending" : "descending"; });
    const key = (row) => row.cells[column].dataset.key;
    const isNumeric = this.headings[column].classList.contains("number");
    const compare = (a, b) => isNumeric ? a - b : a.localeCompare(b);
    const ordered = [...this.rows].sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return up ? compare(a, b) : compare(b, a);
    });
    this.body.append(...ordered);
  }
}

new Table(byId("all"), byId("filter"), byId("shown"));
for (const {dataset: {chart}} of document.querySelectorAll("[data-chart]")) if (!["together", "timeline", "overview"].includes(chart)) draw(chart);
if (timelines.length) {
  new Together();
  new Timelines();
}
