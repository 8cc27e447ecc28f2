/** Two clips: which one is better. */

import { button, h } from "./dom.js";
import { Stage } from "./stage.js";

export class PairJudge {
  /**
   * @param {object} query
   * @param {{submit: (fields: object, words: string) => void, showReward: boolean}} options
   */
  constructor(query, { submit, showReward }) {
    Object.assign(this, { query, submit });
    this.stage = new Stage(query, { showReward, onpick: (place) => this.prefer(place) });
    this.element = this.stage.element;
    this.transport = this.stage.transport.element;
    this.bar = h("div", { class: "answers pair", role: "group", "aria-label": "Answer" },
      button("First is better", { class: "answer place-1", key: "← 1", onclick: () => this.prefer(0) },
        badge(1)),
      button("Equal", { class: "answer plain", key: "↑", onclick: () => this.equal() }),
      button("Cannot tell", { class: "answer plain", key: "↓", onclick: () => this.cannotTell() }),
      button("Second is better", { class: "answer place-2", key: "→ 2", onclick: () => this.prefer(1) },
        badge(2)));
    this.hasStrength = true;
  }

  get keys() {
    return {
      ...this.stage.keys,
      1: () => this.prefer(0), ArrowLeft: () => this.prefer(0),
      2: () => this.prefer(1), ArrowRight: () => this.prefer(1),
      ArrowUp: () => this.equal(), ArrowDown: () => this.cannotTell(),
    };
  }

  load() {
    return this.stage.load();
  }

  prefer(place) {
    const [better, worse] = [this.query.order[place], this.query.order[1 - place]];
    this.stage.mark(place === 0 ? ["chosen", "other"] : ["other", "chosen"]);
    this.submit({ answer: "ranked", order: [[better], [worse]] },
      `${place === 0 ? "First" : "Second"} is better`);
  }

  equal() {
    this.stage.mark(["chosen", "chosen"]);
    this.submit({ answer: "ranked", order: [[0, 1]] }, "Equal");
  }

  cannotTell() {
    this.stage.mark(["other", "other"]);
    this.submit({ answer: "incomparable", order: [] }, "Cannot tell");
  }

  close() {
    this.stage.close();
  }
}

export function badge(number) {
  return h("span", { class: `badge small place-${number}`, "aria-hidden": "true" }, String(number));
}
