/** A ranking as it grows: levels from best to worst, by keys, by touch, or by dragging. */

import { button, h, say } from "./dom.js";
import { badge } from "./pair.js";

const MANY = 5;  // More than these want a line of their own.

export class Board {
  /**
   * @param {number} count Things to rank, named 1 to `count` as they are shown.
   * @param {{noun: string, onchange: () => void, onsubmit: () => void}} options
   */
  constructor(count, { noun, onchange, onsubmit }) {
    Object.assign(this, { count, noun, onchange, onsubmit });
    this.levels = [];  // Of places as shown, from 0.
    this.isTying = false;
    this.levelBox = h("ol", { class: "levels", "aria-label": "Ranking, best first" });
    this.tray = h("div", { class: "tray", "data-drop": "tray", role: "group", "aria-label": "Not ranked" });
    this.tie = button("Tie next", {
      class: "quiet", key: "=", "aria-pressed": "false", onclick: () => this.toggleTie(),
    });
    this.rest = button("Rest equal", { class: "quiet", key: "↑", onclick: () => this.restEqual() });
    this.back = button("Back", { class: "quiet", key: "⌫", onclick: () => this.takeBack() });
    this.done = button("Done", { class: "primary", key: "Enter", onclick: () => this.onsubmit() });
    this.element = h("div", { class: count > MANY ? "board many" : "board" },
      h("div", { class: "board-rows" }, this.levelBox, this.tray),
      h("div", { class: "board-buttons" }, this.tie, this.rest, this.back, this.done));
    this.draw();
  }

  get keys() {
    const keys = {
      "=": () => this.toggleTie(), "+": () => this.toggleTie(), "Shift+0": () => this.toggleTie(),
      ArrowUp: () => this.restEqual(), R: () => this.restEqual(),
      Backspace: () => this.takeBack(), Enter: () => this.onsubmit(),
    };
    for (let place = 0; place < Math.min(this.count, 9); place += 1) {
      keys[place + 1] = () => this.put(place);
      keys[`Shift+${place + 1}`] = () => { this.isTying = true; this.put(place); };
    }
    return keys;
  }

  get isComplete() {
    return this.levels.flat().length === this.count;
  }

  get unplaced() {
    const placed = new Set(this.levels.flat());
    return Array.from({ length: this.count }, (_each, k) => k).filter((k) => !placed.has(k));
  }

  /** Put one below all others, or with a tie pending beside the lowest; put twice, it goes back. */
  put(place) {
    const wasPlaced = this.levels.flat().includes(place);
    this.remove(place);
    if (!wasPlaced) {
      if (this.isTying && this.levels.length) this.levels.at(-1).push(place);
      else this.levels.push([place]);
    }
    this.isTying = false;
    this.changed(wasPlaced ? `${this.noun} ${place + 1} taken back` : this.words());
  }

  toggleTie() {
    this.isTying = !this.isTying && this.levels.length > 0;
    this.draw();
    say(this.isTying ? "The next one ties with the last" : "No tie");
  }

  restEqual() {
    if (this.unplaced.length) this.levels.push(this.unplaced);
    this.changed(this.words());
  }

  takeBack() {
    const last = this.levels.at(-1);
    if (!last) return;
    last.pop();
    if (!last.length) this.levels.pop();
    this.changed(this.words());
  }

  remove(place) {
    this.levels = this.levels
      .map((level) => level.filter((each) => each !== place))
      .filter((level) => level.length);
  }

  /** Drop one where a drag ended: "tray", "level:2", or "gap:2" for a level of its own before 2. */
  drop(place, where) {
    const [kind, number] = where.split(":");
    const target = this.levels[number];
    for (const level of this.levels) {
      if (level.includes(place)) level.splice(level.indexOf(place), 1);
    }
    if (kind === "level") target.push(place);
    if (kind === "gap") this.levels.splice(Number(number), 0, [place]);
    this.levels = this.levels.filter((level) => level.length);
    this.changed(this.words());
  }

  words() {
    if (!this.levels.length) return "Nothing ranked";
    return this.levels
      .map((level) => level.map((place) => place + 1).join(" equal to ")).join(", then ");
  }

  changed(words) {
    this.draw();
    this.onchange();
    say(words);
  }

  draw() {
    const rows = this.levels.flatMap((level, k) => [
      h("li", { class: "gap", "data-drop": `gap:${k}`, "aria-hidden": "true" }),
      h("li", { class: "level", "data-drop": `level:${k}` },
        h("span", { class: "rank", "aria-hidden": "true" }, k === 0 ? "best" : String(k + 1)),
        level.map((place) => this.tile(place))),
    ]);
    this.levelBox.replaceChildren(...rows,
      h("li", { class: "gap last", "data-drop": `gap:${this.levels.length}`, "aria-hidden": "true" },
        this.levels.length ? "" : "best first"));
    this.tray.replaceChildren(...this.unplaced.map((place) => this.tile(place)));
    this.tie.setAttribute("aria-pressed", String(this.isTying));
    this.done.disabled = !this.isComplete;
    this.rest.disabled = this.isComplete;
    this.back.disabled = !this.levels.length;
  }

  tile(place) {
    const tile = button("", {
      class: "tile", "aria-label": `${this.noun} ${place + 1}`,
      onclick: () => { if (!this.dragged) this.put(place); },
    }, badge(place + 1));
    tile.addEventListener("pointerdown", (event) => this.drag(event, place, tile));
    return tile;
  }

  drag(start, place, tile) {
    this.dragged = false;
    let over = null;
    const move = (event) => {
      const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
      if (!this.dragged && Math.hypot(x, y) < 6) return;
      this.dragged = true;
      tile.classList.add("dragged");
      tile.style.transform = `translate(${x}px, ${y}px)`;
      const under = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-drop]");
      if (under !== over) {
        over?.classList.remove("over");
        under?.classList.add("over");
        over = under;
      }
    };
    const end = (event) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      window.removeEventListener("pointercancel", end);
      over?.classList.remove("over");
      if (!this.dragged) return;
      setTimeout(() => { this.dragged = false; });  // After the click that follows.
      if (over && event.type === "pointerup") this.drop(place, over.dataset.drop);
      else this.draw();
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
    window.addEventListener("pointercancel", end);
  }
}
