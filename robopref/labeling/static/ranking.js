/** Several clips, ranked from best to worst with ties. */

import { Board } from "./board.js";
import { button, h, toast } from "./dom.js";
import { Stage } from "./stage.js";

export class RankingJudge {
  constructor(query, { submit, showReward }) {
    Object.assign(this, { query, submit });
    this.stage = new Stage(query, { showReward, onpick: (place) => this.board.put(place) });
    this.board = new Board(query.items.length, {
      noun: "Clip", onchange: () => this.markPlaced(), onsubmit: () => this.done(),
    });
    this.element = this.stage.element;
    this.transport = this.stage.transport.element;
    this.bar = h("div", { class: "answers ranked", role: "group", "aria-label": "Answer" },
      this.board.element,
      button("Cannot tell", { class: "answer plain", key: "↓", onclick: () => this.cannotTell() }));
    this.hasStrength = true;
  }

  get keys() {
    return { ...this.stage.keys, ...this.board.keys, ArrowDown: () => this.cannotTell() };
  }

  load() {
    return this.stage.load();
  }

  markPlaced() {
    this.stage.showRanks(this.board.levels);
  }

  done() {
    if (!this.board.isComplete) {
      toast("Rank every clip first, or press ↑ for the rest to be equal.");
      return;
    }
    this.submit({ answer: "ranked", order: inStoredOrder(this.query, this.board) },
      this.board.words());
  }

  cannotTell() {
    this.submit({ answer: "incomparable", order: [] }, "Cannot tell");
  }

  close() {
    this.stage.close();
  }
}

/** Return the ranking of a board by the query's own numbers. */
export function inStoredOrder(query, board) {
  return board.levels.map((level) => level.map((place) => query.order[place]));
}
