/** Places the action that somebody would do themselves, point by point on the cloud. */

import { button, h, say } from "./dom.js";

const STEP = 0.02;  // Share of the scene that a key moves a point by.

export class Placer {
  /**
   * @param {object} query
   * @param {CloudView} cloud
   * @param {{best: () => number}} options Which candidate, as shown, the own one starts from.
   */
  constructor(query, cloud, { best }) {
    Object.assign(this, { query, cloud, best });
    this.isOn = false;
    this.points = [];
    this.toggle = button("Place the best yourself", {
      class: "quiet", key: "P", "aria-pressed": "false", onclick: () => this.switch(),
    });
    this.hint = h("span", { class: "muted small hint" });
    this.element = h("span", { class: "placer" }, this.toggle, this.hint);
    const [low, high] = query.observation.bounds;
    this.steps = low.map((value, axis) => STEP * (high[axis] - value));
  }

  /** The action in the form of the candidates' actions, or null if it is not complete. */
  get proposed() {
    const { action } = this.template;
    const perRow = Math.floor(action[0].length / 3);
    if (!this.points.length || this.points.length < perRow * action.length) return null;
    return action.map((row, k) => row.map((value, column) =>
      column < 3 * perRow ? this.points[k * perRow + Math.floor(column / 3)][column % 3] : value));
  }

  get template() {
    const index = this.query.order[this.best()];
    return this.query.observation.candidates.find((each) => each.index === index);
  }

  get count() {
    return this.template.primitive.points.length;
  }

  get keys() {
    const move = (axis, sign) => () => this.move(axis, sign);
    const keys = { P: () => this.switch() };
    if (!this.isOn) return keys;
    return {
      ...keys,
      ArrowLeft: move(0, -1), ArrowRight: move(0, 1), ArrowUp: move(1, 1), ArrowDown: move(1, -1),
      PageUp: move(2, 1), PageDown: move(2, -1),
      Enter: () => this.put(this.cloud.cursor),
      Backspace: () => this.takeBack(),
      Escape: () => this.switch(),
    };
  }

  switch() {
    this.isOn = !this.isOn;
    this.toggle.setAttribute("aria-pressed", String(this.isOn));
    if (this.isOn) {
      this.points = [];
      this.cloud.cursor = [...this.template.primitive.points[0]];
    } else {
      this.cloud.cursor = null;
      this.points = [];  // Half an action is none.
    }
    this.changed();
    this.onkeys?.();
  }

  move(axis, sign) {
    this.cloud.cursor[axis] += sign * this.steps[axis];
    this.changed();
  }

  put(point) {
    if (!this.isOn || this.points.length >= this.count) return;
    this.points.push([...point]);
    const next = this.template.primitive.points[this.points.length];
    this.cloud.cursor = next ? [...next] : null;
    if (!next) {
      this.isOn = false;
      this.toggle.setAttribute("aria-pressed", "false");
      this.onkeys?.();
    }
    this.changed();
  }

  takeBack() {
    this.points.pop();
    this.changed();
  }

  changed() {
    const left = this.count - this.points.length;
    this.cloud.own = [...this.points, ...(this.isOn && this.cloud.cursor ? [this.cloud.cursor] : [])];
    this.cloud.redraw();
    if (this.isOn) {
      this.hint.textContent = `Point ${this.points.length + 1} of ${this.count}: `
        + "tap the cloud, or arrows, Page ↑↓ and Enter";
    } else {
      this.hint.textContent = this.points.length && !left ? "Your action is placed" : "";
    }
    if (this.hint.textContent) say(this.hint.textContent);
  }
}
