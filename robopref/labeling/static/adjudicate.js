/** Queries on which annotators disagree, to be decided by somebody who sees all their answers. */

import { call, newId, pause } from "./api.js";
import { CandidatesJudge } from "./candidates.js";
import { criterionPicker } from "./criterion.js";
import { button, h, say, toast } from "./dom.js";
import { inWords } from "./history.js";
import { addKeys } from "./keys.js";
import { PairJudge } from "./pair.js";
import { RankingJudge } from "./ranking.js";
import { RatingJudge } from "./rating.js";

const RETRY_S = 2;
const JUDGES = {
  pair: PairJudge, ranking: RankingJudge, candidates: CandidatesJudge, rating: RatingJudge,
};

export class AdjudicatePage {
  constructor(app) {
    this.app = app;
    this.title = "Adjudicate";
    this.stop = new AbortController();
    this.criterion = criterionPicker(app.project, () => this.start());
    this.words = h("p", { class: "why" });
    this.answers = h("ul", { class: "given", "aria-label": "Answers given" });
    this.stageBox = h("section", { class: "stage", "aria-label": "What is judged" });
    this.transportBox = h("div", { class: "transport-box" });
    this.barBox = h("div", { class: "bar-box" });
    this.decided = [];  // Ids of the decisions of this visit.
    this.undoButton = button("Undo", {
      class: "quiet", key: "Z", disabled: true, onclick: () => this.undo(),
    });
    this.stopUndoKey = addKeys({ Z: () => this.undo() });
    this.gold = h("input", { type: "checkbox", id: "gold" });
    this.element = h("div", { class: "label-page", "data-state": "loading" },
      h("div", { class: "ask" },
        h("div", { class: "ask-words" }, h("p", { class: "criterion" }, "Adjudicate"),
          this.question = h("h1", { class: "question" })),
        h("div", { class: "ask-side" }, this.criterion.element,
          button("Later", { class: "quiet skip", key: "X", onclick: () => this.later() }),
          this.undoButton), this.words),
      this.stageBox, this.transportBox, this.barBox,
      h("div", { class: "extras" }, this.answers,
        this.goldLabel = h("label", { class: "gold", for: "gold" }, this.gold,
          "Ask it of everybody from now on, as one whose answer is known")));
  }

  /** Ask what is to be decided; `first` is the query that is shown before all others. */
  async start(first = null) {
    try {
      const criterion = encodeURIComponent(this.criterion.value);
      const found = await call("GET", `/api/adjudication?criterion=${criterion}`, undefined,
        { signal: this.stop.signal });
      this.app.setLost(null);
      const isFirst = ({ query }) => query.id === first;
      this.queries = [...found.queries, ...found.ratings].toSorted((a, b) => isFirst(b) - isFirst(a));
      await this.show();
    } catch (error) {
      if (this.stop.signal.aborted || !this.app.handle(error)) return;
      await pause(RETRY_S, this.stop.signal);
      if (!this.stop.signal.aborted) await this.start(first);
    }
  }

  async show() {
    this.clear();
    const [first] = this.queries;
    this.element.dataset.state = first ? "loading" : "empty";
    if (!first) {
      this.question.textContent = "";
      this.words.textContent = "";
      this.answers.replaceChildren();
      this.goldLabel.hidden = true;
      this.stageBox.replaceChildren(h("div", { class: "message" }, h("h2", {}, "Nothing to decide"),
        h("p", {}, "Where several annotators answer one query and disagree, it appears here.")));
      this.transportBox.replaceChildren();
      this.barBox.replaceChildren();
      say("Nothing to decide.");
      return;
    }
    const { query, answers } = first;
    this.query = { ...query, order: query.order ?? query.items.map(({ index }) => index) };
    this.question.textContent = query.question;
    this.words.textContent = `${answers.length} answers. To decide: ${this.queries.length}.`;
    this.answers.replaceChildren(...answers.map((answer) => this.given(answer)));
    this.gold.checked = false;
    this.goldLabel.hidden = query.kind === "rating";  // Only answers to comparisons can be known.
    const judge = new JUDGES[query.kind](this.query, {
      submit: (fields, words) => this.decide(fields, words), showReward: false,
    });
    this.judge = judge;
    this.stageBox.replaceChildren(judge.element);
    this.transportBox.replaceChildren(judge.transport);
    this.barBox.replaceChildren(judge.bar);
    await this.load(judge);
  }

  async load(judge) {
    try {
      await judge.load();
    } catch (error) {
      toast(error.message, { urgent: true });
    }
    if (judge !== this.judge) return;
    this.element.dataset.state = "ready";
    this.setKeys();
    judge.onkeys = () => this.setKeys();
  }

  setKeys() {
    this.stopKeys?.();
    this.stopKeys = addKeys({ ...this.judge.keys, X: () => this.later() }, { repeat: [",", "."] });
  }

  /** Show an answer in the numbers of this page, whatever its annotator saw. */
  given(answer) {
    const words = inWords({ ...answer, details: { ...answer.details, shown: this.query.order } });
    return h("li", {}, h("strong", {}, answer.annotator), ` ${words}`,
      answer.reason ? h("span", { class: "muted" }, ` “${answer.reason}”`) : null);
  }

  async decide({ answer, order, rating, mark_step }, words) {
    if (this.element.dataset.state !== "ready") return;
    this.element.dataset.state = "sending";
    const { id: query, criterion } = this.query;
    const id = newId();
    const said = { id, query, criterion };
    try {
      if (rating) await call("POST", "/api/adjudication/ratings", { ...said, rating, mark_step });
      else {
        await call("POST", "/api/adjudication", { ...said, answer, order, gold: this.gold.checked });
      }
      this.keep([...this.decided, { id, query }]);
      say(`Decided: ${words}`);
      this.queries.shift();
      if (this.queries.length) await this.show();
      else await this.start();
    } catch (error) {
      this.element.dataset.state = "ready";
      if (this.app.handle(error)) toast(error.message, { urgent: true });
    }
  }

  /** Take back the last decision of this visit, and judge its query again. */
  async undo() {
    const last = this.decided.at(-1);
    if (!last || ["loading", "sending"].includes(this.element.dataset.state)) return;
    const before = this.element.dataset.state;
    this.element.dataset.state = "sending";
    try {
      await call("POST", `/api/adjudication/${last.id}/undo`);
      this.keep(this.decided.slice(0, -1));
      toast("Taken back. Decide it anew.");
      await this.start(last.query);
    } catch (error) {
      this.element.dataset.state = before;
      if (this.app.handle(error)) toast(error.message, { urgent: true });
    }
  }

  keep(decided) {
    this.decided = decided;
    this.undoButton.disabled = !decided.length;
  }

  later() {
    if (this.queries?.length < 2) return;
    this.queries.push(this.queries.shift());
    this.show();
  }

  clear() {
    this.stopKeys?.();
    this.stopKeys = null;
    this.judge?.close();
    this.judge = null;
  }

  close() {
    this.stop.abort();
    this.stopUndoKey();
    this.clear();
  }
}
