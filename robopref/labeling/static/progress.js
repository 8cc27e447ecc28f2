/** How far a project is: labels, agreement, what the reward makes of them, what cannot be shown. */

import { call, pause } from "./api.js";
import { lineChart } from "./charts.js";
import { h, when } from "./dom.js";

const EVERY_S = 5;

export class ProgressPage {
  constructor(app) {
    this.app = app;
    this.title = "Progress";
    this.stop = new AbortController();
    this.body = h("div", { class: "sections" });
    this.criterion = criterionPicker(app.project, () => this.refresh());
    this.element = h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Progress"), this.criterion.element), this.body);
  }

  async start() {
    while (!this.stop.signal.aborted) {
      await this.refresh();
      await pause(EVERY_S, this.stop.signal);
    }
  }

  async refresh() {
    const criterion = this.criterion.value;
    try {
      const found = await call("GET", `/api/progress?criterion=${encodeURIComponent(criterion)}`,
        undefined, { signal: this.stop.signal });
      if (this.stop.signal.aborted || criterion !== this.criterion.value) return;
      this.app.setLost(null);
      this.draw(found);
    } catch (error) {
      if (!this.stop.signal.aborted) this.app.handle(error);
    }
  }

  draw(found) {
    // Only what has changed is drawn anew, so that nobody's reading or focus is disturbed.
    const text = JSON.stringify(found);
    if (text === this.drawn) return;
    this.drawn = text;
    this.body.replaceChildren(
      this.tiles(found),
      h("div", { class: "halves" }, overTime(found), accuracy(found)),
      annotators(found), pairwise(found), blocked(found));
  }

  tiles({ criteria = [], agreement = {}, next_labels: next, trainer, blocked: stuck = [] }) {
    const own = criteria.find(({ name }) => name === this.criterion.value) ?? {};
    return h("div", { class: "tiles" },
      tile("Labels", own.labels ?? 0, `${own.answers ?? 0} answers, ${own.skipped ?? 0} skipped`),
      tile("Still open", own.open ?? 0, stuck.length ? `${stuck.length} cannot be shown` : "all can be shown"),
      tile("Agreement", number(agreement.alpha),
        agreement.num_queries
          ? `Krippendorff's α over ${agreement.num_queries} queries${interval(agreement)}`
          : "needs two annotators on one query"),
      tile("Ten more labels", next?.gain === null || next?.gain === undefined ? "–"
        : `${next.gain >= 0 ? "+" : "−"}${Math.abs(100 * next.gain).toFixed(1)} %`,
      next?.words ?? "of held-out accuracy, estimated"),
      tile("Trainer", TRAINER[trainer?.state] ?? "off", trainer?.words ?? ""));
  }

  close() {
    this.stop.abort();
  }
}

const TRAINER = { off: "off", waiting: "waiting", training: "training", failed: "failed" };

/** Return the way to choose a criterion; hidden where there is one only. */
export function criterionPicker({ criteria }, onchange) {
  const select = h("select", { "aria-label": "Criterion", onchange: () => { select.blur(); onchange(); } },
    criteria.map(({ name }) => h("option", { value: name }, name)));
  select.hidden = criteria.length < 2;
  return { element: select, get value() { return select.value; } };
}

function tile(name, value, words) {
  return h("div", { class: "card tile" }, h("h2", {}, name), h("p", { class: "figure" }, String(value)),
    h("p", { class: "muted small" }, words));
}

function section(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), ...children);
}

function overTime({ over_time: points = [] }) {
  return section("Labels over time", lineChart(
    points.map(({ time_s: x, labels: y }) => ({ x, y })),
    { label: "Labels", xLabel: when, yLabel: (y) => y.toFixed(0), step: true },
  ));
}

function accuracy({ accuracy: points = [] }) {
  return section("Held-out accuracy of the reward", lineChart(
    points.map(({ labels: x, value: y, low, high }) => ({ x, y, low, high })),
    {
      label: "Held-out accuracy", range: [0, 1], guide: { y: 0.5, label: "chance" },
      xLabel: (x) => `${x} labels`, yLabel: (y) => `${(100 * y).toFixed(0)} %`,
    },
  ));
}

function annotators({ annotators: rows = [] }) {
  const head = ["Annotator", "Labels", "Skipped", "Seconds each", "With themselves", "On known ones",
    "Attention", "First preferred", "Reliability"];
  return section("Annotators", rows.length
    ? table(head, rows.map((row) => [
      row.name, row.labels, row.skipped, number(row.median_s, 1),
      share(row.consistency, row.num_repeats), share(row.gold, row.num_gold),
      share(row.attention, row.num_attention), position(row), number(row.reliability),
    ]))
    : h("p", { class: "muted" }, "Nobody has answered yet."));
}

/** Return how often the first clip is preferred, and whether that is more than chance. */
function position({ first_share: value, first_share_low: low, first_share_high: high }) {
  if (value === null || value === undefined) return "–";
  const isBiased = low > 0.5 || high < 0.5;
  return h("span", { class: isBiased ? "warning" : "", title: "Half is what chance gives" },
    `${percent(value)}${isBiased ? " (biased)" : ""}`);
}

function pairwise({ agreement: { kappa = [] } = {} }) {
  if (!kappa.length) return "";
  return section("Agreement of two (Cohen's κ)", table(["Annotators", "κ", "Queries"],
    kappa.map(({ a, b, kappa: value, num }) => [`${a}, ${b}`, number(value), num])));
}

function blocked({ blocked: rows = [] }) {
  if (!rows.length) return "";
  return section("Queries that cannot be shown", table(["Query", "Criterion", "Why"],
    rows.map(({ query_id: id, criterion, reason }) => [id.slice(0, 8), criterion, reason])));
}

/** Return a table; the first column names its row, numbers stand to the right. */
export function table(head, rows) {
  const isNumber = (cell) => typeof cell === "number" || /^[–−+\d]/.test(String(cell));
  const numeric = head.map((_title, k) => k > 0 && rows.every((row) =>
    row[k] instanceof Node || isNumber(row[k])));
  const side = (k) => (numeric[k] ? "num" : null);
  return h("div", { class: "table" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((title, k) => h("th", { scope: "col", class: side(k) }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, k) =>
      h(k ? "td" : "th", k ? { class: side(k) } : { scope: "row" }, cell instanceof Node ? cell : String(cell))))))));
}

function number(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function percent(value) {
  return `${(100 * value).toFixed(0)} %`;
}

function share(value, count) {
  return value === null || value === undefined ? "–" : `${percent(value)} of ${count}`;
}

function interval({ low, high }) {
  return low === null || low === undefined ? "" : `, ${number(low)} to ${number(high)}`;
}
