/** Policies compared blindly: how often each was preferred, and how sure that is. */

import { ApiError, call } from "./api.js";
import { intervalBar, shareBar } from "./charts.js";
import { criterionPicker } from "./criterion.js";
import { button, h, toast } from "./dom.js";
import { table } from "./progress.js";

const NUM_AT_ONCE = 10;

export class ComparePage {
  constructor(app) {
    this.app = app;
    this.title = "Compare";
    this.isRevealed = false;
    this.stop = new AbortController();
    this.criterion = criterionPicker(app.project, () => this.start());
    this.reveal = button("Show the names", {
      onclick: () => { this.isRevealed = !this.isRevealed; this.start(); },
    });
    this.body = h("div", { class: "sections" });
    this.element = h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Policies, compared blindly"),
        this.criterion.element,
        button(`Ask ${NUM_AT_ONCE} comparisons`, { onclick: () => this.add() }), this.reveal), this.body);
  }

  async start() {
    // What was asked before must not be drawn over this.
    this.stop.abort();
    const { signal } = this.stop = new AbortController();
    try {
      const found = await call("GET", `/api/comparison?reveal=${this.isRevealed ? 1 : 0}`, undefined,
        { signal });
      this.app.setLost(null);
      this.draw(found);
    } catch (error) {
      if (!signal.aborted) this.app.handle(error);
    }
  }

  /** Queue pairs of episodes of different policies that start alike. */
  async add() {
    try {
      const { ids } = await call("POST", "/api/comparison", { num: NUM_AT_ONCE });
      const asked = ids.length === 1 ? "1 comparison is" : `${ids.length} comparisons are`;
      toast(`${asked} asked now, on the page “Label”.`);
      await this.start();
    } catch (error) {
      if (error instanceof ApiError && !error.isOfSession) toast(error.message, { urgent: true, seconds: 9 });
      else this.app.handle(error);
    }
  }

  draw({ criteria, waiting }) {
    const { policies, pairs } = criteria.find(({ criterion }) => criterion === this.criterion.value)
      ?? { policies: [], pairs: [] };
    this.reveal.querySelector("span").textContent = this.isRevealed ? "Hide the names" : "Show the names";
    this.reveal.hidden = !policies.length;
    const open = [
      `${waiting} ${waiting === 1 ? "comparison is" : "comparisons are"} waiting for an answer. `,
      waiting ? h("a", { class: "link", href: "/", onclick: (event) => this.app.follow(event) },
        "To Label") : "",
    ];
    if (!policies.length) {
      this.body.replaceChildren(h("div", { class: "message" }, h("h2", {}, "Nothing to compare yet"),
        h("p", {}, "Two episodes of different policies that start alike are shown on the page "
          + "“Label”, without their names; what comes of it stands here."), h("p", {}, open)));
      return;
    }
    this.body.replaceChildren(
      h("p", {}, open),
      h("p", { class: "muted" }, "A score is the logarithm of the odds of being preferred "
        + "(Bradley–Terry) against the mean of those it was compared with, with its 95 % interval."),
      h("section", { class: "card" }, h("h2", {}, "Scores"), scores(policies)),
      h("section", { class: "card" }, h("h2", {}, "Side by side"), differences(pairs)));
  }

  close() {
    this.stop.abort();
  }
}

function scores(policies) {
  const low = Math.min(0, ...policies.map((each) => each.low));
  const high = Math.max(0, ...policies.map((each) => each.high));
  return table(["Policy", "Score", "95 %", "", "Preferred, equal, not"],
    policies.toSorted((a, b) => b.score - a.score).map((each) => [
      each.name, signed(each.score), range(each),
      intervalBar({ value: each.score, low: each.low, high: each.high }, [low, high],
        `${each.name}: ${signed(each.score)}, ${range(each)}`),
      h("span", { class: "record" }, shareBar([
        { label: "preferred", value: each.wins, name: "win" },
        { label: "equal", value: each.ties, name: "tie" },
        { label: "not preferred", value: each.losses, name: "loss" },
      ]), `${each.wins} · ${each.ties} · ${each.losses}`),
    ]));
}

function differences(pairs) {
  return table(["Policies", "Difference", "95 %", "Comparisons", ""], pairs.map((each) => {
    const isKnown = each.difference !== null;
    return [
      `${each.a} − ${each.b}`, isKnown ? signed(each.difference) : "–", isKnown ? range(each) : "–",
      each.num, verdict(each),
    ];
  }));
}

function verdict({ a, b, low, high }) {
  if (low === null) return "not compared, nor through others";
  return low > 0 ? `${a} is better` : high < 0 ? `${b} is better` : "not told apart yet";
}

function range({ low, high }) {
  return `${signed(low)} to ${signed(high)}`;
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
