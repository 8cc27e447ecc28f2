/** The keys, on one sheet. */

import { button, h } from "./dom.js";

const SHEET = [
  ["Two clips", [
    ["← or 1", "The first is better"], ["→ or 2", "The second is better"],
    ["↑", "Equal"], ["↓", "Cannot tell"], ["Q W E", "Slightly, clearly, by far"]]],
  ["Ranking", [
    ["1 – 9", "Next best"], ["= or Shift 1 – 9", "Tie with the last"], ["↑", "The rest is equal"],
    ["⌫", "Take the last back"], ["Enter", "Done"], ["↓", "Cannot tell"]]],
  ["One clip", [
    ["← or 1", "Good, success"], ["→ or 2", "Bad, failure"], ["M", "Mark where it went wrong"],
    ["↓", "Cannot tell"]]],
  ["Actions in space", [
    ["Shift ← ↑ → ↓", "Turn"], ["Shift I J K L", "Move"], ["Page ↑ ↓", "Nearer, farther"],
    ["Home", "As at first"], ["End", "The whole scene"], ["T", "From above"], ["V", "Paths or clips"], ["B", "All bad"],
    ["P", "Place the best yourself, where actions are positions"]]],
  ["Playback", [
    ["Space", "Play, pause"], [", .", "One picture back, on"], ["< >", "Ten pictures"],
    ["S", "Speed"], ["O", "Loop"], ["L", "Curves"], ["C", "Camera"]]],
  ["Always", [
    ["Z", "Undo the last answer, or decision"], ["Shift Z", "My answers"], ["A D F …", "Reasons"],
    ["N", "Note"], ["X", "Skip"], ["?", "This sheet"]]],
];

export class Help {
  constructor() {
    this.dialog = h("dialog", { class: "sheet", "aria-label": "Keys" },
      h("header", {}, h("h2", {}, "Keys"),
        button("Close", { class: "quiet", key: "Esc", onclick: () => this.dialog.close() })),
      h("div", { class: "columns" }, SHEET.map(([title, rows]) =>
        h("section", {}, h("h3", {}, title), h("dl", {}, rows.map(([keys, meaning]) =>
          [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, meaning)]))))));
    document.body.append(this.dialog);
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
  }
}
