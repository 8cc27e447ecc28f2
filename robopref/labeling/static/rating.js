/** One clip, judged by itself, with a mark where it went wrong. */

import { button, h, say } from "./dom.js";
import { Stage } from "./stage.js";

const WORDS = { good: "Good", bad: "Bad", success: "Success", failure: "Failure" };

export class RatingJudge {
  constructor(query, { submit, showReward }) {
    Object.assign(this, { query, submit });
    this.stage = new Stage(query, { showReward });
    this.element = this.stage.element;
    this.transport = this.stage.transport.element;
    this.markFrame = null;
    [this.right, this.wrong] = query.verdicts;
    this.marker = button("Mark where it went wrong", {
      class: "answer plain", key: "M", "aria-pressed": "false", onclick: () => this.toggleMark(),
    });
    this.bar = h("div", { class: "answers rated", role: "group", "aria-label": "Answer" },
      button(WORDS[this.right], { class: "answer good", key: "← 1", onclick: () => this.rate(this.right) }),
      this.marker,
      button("Cannot tell", { class: "answer plain", key: "↓", onclick: () => this.rate("cannot tell") }),
      button(WORDS[this.wrong], { class: "answer bad", key: "→ 2", onclick: () => this.rate(this.wrong) }));
    this.hasStrength = false;
  }

  get keys() {
    return {
      ...this.stage.keys,
      1: () => this.rate(this.right), ArrowLeft: () => this.rate(this.right),
      2: () => this.rate(this.wrong), ArrowRight: () => this.rate(this.wrong),
      ArrowDown: () => this.rate("cannot tell"), M: () => this.toggleMark(),
    };
  }

  load() {
    return this.stage.load();
  }

  toggleMark() {
    const { player, transport } = this.stage;
    player.pause();
    const frame = player.target ?? player.frame;  // Keys may be quicker than the picture.
    // Set again at another picture, it moves there.
    this.markFrame = this.markFrame === frame ? null : frame;
    transport.setMark(this.markFrame);
    const isOn = this.markFrame !== null;
    this.marker.setAttribute("aria-pressed", String(isOn));
    const words = isOn ? `Went wrong at picture ${this.markFrame + 1}` : "Mark where it went wrong";
    this.marker.querySelector("span").textContent = words;
    say(isOn ? words : "Mark taken away");
  }

  rate(rating) {
    const [item] = this.query.items;
    const markStep = this.markFrame === null
      ? null
      : Math.min(this.markFrame * (item.stride ?? 1), (item.num_steps ?? item.num_frames) - 1);
    this.stage.mark([rating === this.wrong ? "other" : "chosen"]);
    this.submit({ rating, mark_step: markStep }, WORDS[rating] ?? "Cannot tell");
  }

  close() {
    this.stage.close();
  }
}
