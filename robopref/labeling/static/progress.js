/** How far a project is: labels, agreement, what the reward makes of them, what cannot be shown. */

import { ApiError, call, pause } from "./api.js";
import { barChart, lineChart } from "./charts.js";
import { criterionPicker } from "./criterion.js";
import { button, h, say, toast } from "./dom.js";

const EVERY_S = 5;
const SOON_S = 1;  // When newer figures are on their way.
const BIAS_LEVEL = 0.01;  // Below which chance is no explanation: 8 of 8, not 4 of 4.
const MOST_DAYS = 30;
const DAY_MS = 86_400_000;
const BY_VOTES = "By votes (Dawid–Skene)";
const BY_SCORES = "by scores (Bradley–Terry)";

export class ProgressPage {
  constructor(app) {
    this.app = app;
    this.title = "Progress";
    this.stop = new AbortController();
    this.body = h("div", { class: "sections" });
    this.criterion = criterionPicker(app.project, () => this.refresh());
    this.element = h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Progress"), this.criterion.element,
        this.age = h("p", { class: "muted small" })), this.body);
  }

  async start() {
    while (!this.stop.signal.aborted) {
      const isMeasuring = await this.refresh();
      await pause(isMeasuring ? SOON_S : EVERY_S, this.stop.signal);
    }
  }

  /** Draw the last figures; return whether newer ones are on their way. */
  async refresh() {
    try {
      const found = await call("GET", "/api/progress", undefined, { signal: this.stop.signal });
      if (this.stop.signal.aborted) return false;
      this.app.setLost(null);
      this.draw(found);
      return found.is_measuring;
    } catch (error) {
      if (!this.stop.signal.aborted) this.app.handle(error);
      return false;
    }
  }

  draw(all) {
    this.age.textContent = all.computed_s === null ? "" : `As of ${timeOf(all.computed_s)}`
      + (all.is_measuring ? "; newer figures are being measured" : "");
    if (all.computed_s === null) {
      this.body.replaceChildren(h("div", { class: "message" }, h("h2", {}, "Being measured"),
        h("p", {}, "The figures are counted for the first time since the server started. "
          + "With very many answers that takes a minute.")));
      return;
    }
    const own = all.criteria.find(({ criterion }) => criterion === this.criterion.value);
    // Only what has changed is drawn anew, so that nobody's reading or focus is disturbed.
    const text = JSON.stringify([
      own, all.blocked, all.skipped, all.ratings, all.contradictions, all.trainer, all.trouble]);
    if (!own || text === this.drawn) return;
    this.drawn = text;
    this.body.replaceChildren(
      all.trouble ? h("p", { class: "card warning", role: "alert" }, all.trouble) : "",
      tiles(own, all),
      h("div", { class: "halves" }, perDay(own), accuracy(own)),
      annotators(own), pairwise("Agreement of two (Cohen's κ)", own.agreement),
      rated(all.ratings, own), pairwise("Agreement of two on single clips (Cohen's κ)", own.rating_agreement),
      contradictions(all.contradictions, own),
      listed("Queries that cannot be shown", ["Why", ""], all.blocked,
        (row) => [row.reason, this.againButton(row)]),
      listed("Queries that were skipped", ["How often"], all.skipped, ({ skips }) => [skips]),
      exports());
  }

  /** Return what has a query shown again, where what stood against it may be mended. */
  againButton({ query_id: id }) {
    const again = button("Try again", {
      class: "small", "aria-label": `Try again: ${shortened(id)}`, onclick: () => this.unblock(id, again),
    });
    return again;
  }

  async unblock(id, again) {
    again.disabled = true;
    try {
      await call("POST", `/api/queries/${encodeURIComponent(id)}/unblock`);
      say("It is asked again.");
      await this.refresh();
    } catch (error) {
      again.disabled = false;
      if (error instanceof ApiError && !error.isOfSession) toast(error.message, { urgent: true });
      else this.app.handle(error);
    }
  }

  close() {
    this.stop.abort();
  }
}

function timeOf(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString();
}

const TRAINER = { off: "off", waiting: "waiting", fitting: "fitting", failed: "failed" };
const FITS = "fits a reward as labels come";
const TRAINER_WORDS = {
  off: "this server fits no reward", waiting: FITS, fitting: FITS, failed: FITS,
};

function tiles(own, { trainer, blocked = [] }) {
  const { agreement, value_of_ten: gain, position } = own;
  return h("div", { class: "tiles" },
    tile("Labels", own.labels, `${own.answers} answers of ${own.annotators.length} annotators`),
    tile("Still open", own.remaining, blocked.length ? `${blocked.length} cannot be shown` : "queries"),
    tile("Agreement", number(agreement.alpha), isKnown(agreement.alpha)
      ? `Krippendorff's α${isKnown(own.disagreements) ? `; ${own.disagreements} disagreements` : ""}`
      : "known once two annotators answer one query"),
    tile("First preferred", isKnown(position.value) ? percent(position.value) : "–",
      isKnown(position.value)
        ? `${percent(position.low)} to ${percent(position.high)}; chance gives half`
        : "of pairs with a preference"),
    heldOut(own),
    tile("Ten more labels", isKnown(gain) ? `${gain < 0 ? "−" : "+"}${Math.abs(100 * gain).toFixed(1)} %` : "–",
      "of held-out accuracy, estimated"),
    tile("Trainer", TRAINER[trainer?.state] ?? "off", trainer?.message || TRAINER_WORDS[trainer?.state ?? "off"]));
}

/** Return the newest accuracy of the reward on pairs that it was not fitted to. */
function heldOut({ history = [] }) {
  const last = history.findLast((row) => isKnown(row.accuracy));
  return tile("Held-out accuracy", last ? percent(last.accuracy) : "–", last
    ? `${percent(last.low)} to ${percent(last.high)}; after ${last.labels} labels`
    : "of the reward, once it is fitted");
}

function tile(name, value, words) {
  return h("div", { class: "card stat" }, h("h2", {}, name), h("p", { class: "figure" }, String(value)),
    h("p", { class: "muted small" }, words));
}

function section(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), ...children);
}

function perDay({ per_day: days = [] }) {
  const bars = everyDay(days).map(({ day, labels }) => ({ label: dayName(day), value: labels }));
  return section("Labels a day",
    barChart(bars, { label: "Labels a day", xTitle: "day (UTC)", yTitle: "labels" }));
}

/** Return the days with those between them on which nobody labelled. */
function everyDay(days) {
  if (!days.length) return [];
  const known = new Map(days.map(({ day, labels }) => [day, labels]));
  const last = Date.parse(days.at(-1).day);
  const first = Math.max(Date.parse(days[0].day), last - (MOST_DAYS - 1) * DAY_MS);
  return Array.from({ length: Math.round((last - first) / DAY_MS) + 1 }, (_each, k) => {
    const day = new Date(first + k * DAY_MS).toISOString().slice(0, 10);
    return { day, labels: known.get(day) ?? 0 };
  });
}

function dayName(day) {
  return new Date(`${day}T12:00:00Z`).toLocaleDateString([], { day: "numeric", month: "short" });
}

function accuracy({ history = [], value_method: method }) {
  const points = history.filter((row) => isKnown(row.accuracy));
  return section("Held-out accuracy of the reward", lineChart(
    points.map(({ labels: x, accuracy: y, low, high }) => ({ x, y, low, high })),
    {
      label: "Held-out accuracy", range: [0, 1], guide: { y: 0.5, label: "chance" },
      xTitle: "labels", yTitle: "accuracy", yLabel: percent,
    },
  ), method && points.length > 1
    ? h("details", { class: "muted small" },
      h("summary", {}, "How the value of ten more labels is estimated"), h("p", {}, method))
    : null);
}

function annotators({ annotators: rows }) {
  const head = ["Annotator", "Answers", "Skips", "Seconds each", "Consistent", "Known answers",
    "Attention", "First preferred", "Reliability"];
  return section("Annotators", rows.length
    ? table(head, rows.map((row) => [
      row.name, row.answers, row.skips, number(row.seconds_median, 1),
      isKnown(row.consistency) ? percent(row.consistency) : "–", share(row.gold),
      share(row.attention), position(row.first_shown_share), reliability(row),
    ]))
    : h("p", { class: "muted" }, "Nobody has answered yet."));
}

/** Return how often somebody is right: by votes, and after a stroke by scores where that is known. */
function reliability({ reliability_votes: votes, reliability_scores: scores }) {
  if (!isKnown(scores)) return h("span", { title: BY_VOTES }, number(votes));
  return h("span", { title: `${BY_VOTES} / ${BY_SCORES}` }, `${number(votes)} / ${number(scores)}`);
}

/** Return how often the first clip is preferred, and whether that is more than chance. */
function position(found) {
  if (!found || !isKnown(found.value)) return "–";
  const isBiased = found.p_value < BIAS_LEVEL;
  const title = `Of ${found.num}; half is what chance gives, and one so far from it in `
    + `${chances(found.p_value)} (exact binomial test)`;
  return h("span", { class: isBiased ? "warning" : null, title },
    `${percent(found.value)}${isBiased ? " (biased)" : ""}`);
}

function chances(probability) {
  return probability < 0.001 ? "less than 1 of 1000 cases" : `${percent(probability)} of cases`;
}

function pairwise(title, { kappa = [] }) {
  if (!kappa.length) return "";
  return section(title, table(["Annotators", "κ"],
    kappa.map(({ a, b, kappa: value }) => [`${a}, ${b}`, number(value)])));
}

function rated(ratings = [], { criterion, rating_agreement: agreement }) {
  const own = ratings.filter((row) => row.criterion === criterion);
  if (!own.length) return "";
  return section("Ratings of single clips", table(["Annotator", "Rating", "How many"],
    own.map((row) => [row.annotator, row.rating, row.num])),
  isKnown(agreement.alpha) ? h("p", { class: "muted small" },
    `Krippendorff's α of clips that several people rated: ${number(agreement.alpha)}`) : null);
}

/** Return the clips of which annotators said different things. */
function contradictions(rows = [], { criterion, rating_disagreements: num }) {
  const own = rows.filter((row) => row.criterion === criterion);
  if (!own.length) return "";
  const words = ({ annotator, rating, mark_step: mark }) =>
    `${annotator}: ${rating}${mark === null ? "" : ` (step ${mark})`}`;
  return section(`Clips rated differently, to decide at Adjudicate: ${num}`, table(["Clip", "Steps", "Ratings"], own.map((row) => [
    shortened(row.episode_id), `${row.start} to ${row.start + row.length}`,
    row.ratings.map(words).join(", "),
  ])));
}

function listed(title, heads, rows = [], tell) {
  if (!rows.length) return "";
  return section(title, table(["Query", "Criterion", ...heads],
    rows.map((row) => [shortened(row.query_id), row.criterion, ...tell(row)])));
}

function shortened(id) {
  return id.slice(0, 8);
}

function exports() {
  const kinds = [["parquet", "Parquet"], ["jsonl", "JSON lines"],
    ["chosen_rejected", "Chosen and rejected"], ["lerobot", "LeRobot sidecar"]];
  return section("Take the answers with you", h("p", { class: "row wrap" }, kinds.map(([kind, name]) =>
    h("a", { class: "link", href: `/api/export/${kind}`, download: "" }, name))));
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
  return isKnown(value) ? value.toFixed(digits).replace("-", "−") : "–";
}

function isKnown(value) {
  return value !== null && value !== undefined;
}

function percent(value) {
  return `${(100 * value).toFixed(0)} %`;
}

function share(found) {
  return found && isKnown(found.value) ? `${percent(found.value)} of ${found.num}` : "–";
}
