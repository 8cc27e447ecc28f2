/** Policies compared blindly: how often each was preferred, and how sure that is. */

import { call } from "./api.js";
import { intervalBar, shareBar } from "./charts.js";
import { button, h } from "./dom.js";
import { criterionPicker, table } from "./progress.js";

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
        this.criterion.element, this.reveal), this.body);
  }

  async start() {
    const query = new URLSearchParams({ criterion: this.criterion.value });
    if (this.isRevealed) query.set("reveal", "1");
    try {
      const found = await call("GET", `/api/comparison?${query}`, undefined, { signal: this.stop.signal });
      this.app.setLost(null);
      this.draw(found);
    } catch (error) {
      if (!this.stop.signal.aborted) this.app.handle(error);
    }
  }

  draw({ policies = [], pairs = [], num_labels: labels = 0, remaining = 0, words = "" }) {
    this.reveal.querySelector("span").textContent = this.isRevealed ? "Hide the names" : "Show the names";
    this.reveal.hidden = policies.length === 0;
    if (!policies.length) {
      this.body.replaceChildren(h("div", { class: "message" }, h("h2", {}, "Nothing to compare"),
        h("p", {}, words || "Clips of two policies from the same starts are compared on the page "
          + "“Label”, without their names; what comes of it stands here.")));
      return;
    }
    const low = Math.min(0, ...policies.map((each) => each.low));
    const high = Math.max(0, ...policies.map((each) => each.high));
    this.body.replaceChildren(
      h("p", { class: "muted" }, words || `${labels} labels, ${remaining} queries open. A score is the `
        + "logarithm of the odds of being preferred (Bradley–Terry), with its 95 % interval."),
      h("section", { class: "card" }, h("h2", {}, "Scores"),
        table(["Policy", "Score", "95 %", "", "Preferred"], policies.map((each) => [
          each.name, signed(each.score), `${signed(each.low)} to ${signed(each.high)}`,
          intervalBar({ value: each.score, low: each.low, high: each.high }, [low, high],
            `${each.name}: ${signed(each.score)}, from ${signed(each.low)} to ${signed(each.high)}`),
          h("span", { class: "record" }, shareBar([
            { label: "preferred", value: each.wins, name: "win" },
            { label: "equal", value: each.ties, name: "tie" },
            { label: "not preferred", value: each.losses, name: "loss" },
          ]), `${each.wins} · ${each.ties} · ${each.losses}`),
        ]))),
      pairs.length ? h("section", { class: "card" }, h("h2", {}, "Side by side"),
        table(["Policies", "First preferred", "Equal", "Second preferred", "Share of the first"],
          pairs.map((each) => [`${each.a} and ${each.b}`, each.wins_a, each.ties, each.wins_b,
            each.p_a === null || each.p_a === undefined ? "–"
              : `${percent(each.p_a)} (${percent(each.low)} to ${percent(each.high)})`]))) : "");
  }

  close() {
    this.stop.abort();
  }
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

function percent(value) {
  return `${(100 * value).toFixed(0)} %`;
}
