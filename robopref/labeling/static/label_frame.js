/** What stands around a query on the labelling page: the question, where it is judged, and notices. */

import { button, h, say } from "./dom.js";

export class LabelFrame {
  /**
   * @param {object} app
   * @param {{picker: HTMLElement, onskip: () => void, onundo: () => void, onhistory: () => void}} options
   */
  constructor(app, { picker, onskip, onundo, onhistory }) {
    this.app = app;
    this.criterion = h("p", { class: "criterion" });
    this.question = h("h1", { class: "question" });
    this.why = h("p", { class: "why" });
    this.count = h("p", { class: "count muted" });
    this.stageBox = h("section", { class: "stage", "aria-label": "What is judged" });
    this.transportBox = h("div", { class: "transport-box" });
    this.barBox = h("div", { class: "bar-box" });
    this.extrasBox = h("div", { class: "extras-box" });
    const buttons = h("div", { class: "undo-box" },
      button("Skip", { class: "quiet skip", key: "X", onclick: onskip }),
      button("Undo", { class: "quiet", key: "Z", onclick: onundo }),
      button("History", { class: "quiet", "aria-keyshortcuts": "Shift+Z", onclick: onhistory }));
    this.element = h("div", { class: "label-page", "data-state": "loading" },
      h("div", { class: "ask" },
        h("div", { class: "ask-words" }, this.criterion, this.question),
        h("div", { class: "ask-side" }, picker, this.count, buttons), this.why),
      this.stageBox, this.transportBox, this.barBox, this.extrasBox);
  }

  get state() {
    return this.element.dataset.state;
  }

  set state(state) {
    this.element.dataset.state = state;
  }

  /** Say what is asked, why, and how much is left. */
  ask(query, progress) {
    this.message = null;
    this.criterion.textContent = query.criterion;
    this.question.textContent = query.question;
    this.why.replaceChildren(query.why ?? "", query.compares_policies
      ? this.link("/compare", "All comparisons of policies") : "");
    this.element.classList.toggle("attention", query.role === "attention");
    if (!progress) return;
    const { answered_mine: mine, remaining } = progress;
    const by = this.app.project.criteria.length > 1 ? ` by “${query.criterion}”` : "";
    this.count.textContent = `${mine} answered · ${remaining} to go${by}`;
  }

  /** Show what a query is judged with. */
  show(judge, extras) {
    this.stageBox.replaceChildren(judge.element);
    this.transportBox.replaceChildren(judge.transport);
    this.barBox.replaceChildren(judge.bar);
    this.extrasBox.replaceChildren(extras.element);
  }

  link(path, words) {
    return h("a", { class: "link", href: path, onclick: (event) => this.app.follow(event) }, words);
  }

  /** Return whether this is what is said already. */
  says(state, title, words) {
    return this.state === state && this.message === title + words;
  }

  /** Show a notice in the place of a query. */
  tell(state, title, words, ...actions) {
    this.message = title + words;
    this.state = state;
    for (const line of [this.criterion, this.question, this.why, this.count]) line.textContent = "";
    this.stageBox.replaceChildren(h("div", { class: "message" },
      h("h2", {}, title), h("p", {}, words), ...actions));
    for (const box of [this.transportBox, this.barBox, this.extrasBox]) box.replaceChildren();
    say(`${title}. ${words}`);
  }

  /** Show a notice over a query that stays. */
  cover(state, title, words, ...actions) {
    this.state = state;
    this.stageBox.append(h("div", { class: "message covering" },
      h("h2", {}, title), h("p", {}, words), h("div", { class: "row" }, ...actions)));
    say(`${title}. ${words}`, { urgent: true });
  }
}
