/** What may be said beside an answer: how strongly, for what reasons, in words. */

import { button, choice, h, say } from "./dom.js";

const STRENGTHS = [
  { value: 1, label: "Slightly", key: "Q" },
  { value: 2, label: "Clearly", key: "W" },
  { value: 3, label: "By far", key: "E" },
];
// As many as the server lets there be; all other letters mean something else somewhere.
const TAG_KEYS = ["A", "D", "F", "G", "H", "J", "K", "Y", "U", "I"];

export class Extras {
  /**
   * @param {{tags: string[], strength: number, hasStrength: boolean}} options
   */
  constructor({ tags, strength, hasStrength }) {
    this.strength = strength;
    this.chosen = new Set();
    this.scale = hasStrength
      ? choice("How strongly", STRENGTHS, strength, (value) => { this.strength = value; })
      : null;
    this.tags = tags.map((tag, place) => button(tag, {
      class: "tag", key: TAG_KEYS[place], "aria-pressed": "false",
      onclick: () => this.toggle(place),
    }));
    this.note = h("input", {
      type: "text", class: "note", maxlength: 2000, placeholder: "Note", "aria-label": "Note",
      "aria-keyshortcuts": "N", autocomplete: "off",
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === "Escape") this.note.blur();
      },
    });
    this.element = h("div", { class: "extras" },
      this.scale?.element,
      h("div", { class: "tags", role: "group", "aria-label": "Reasons" }, this.tags),
      h("label", { class: "note-box" }, this.note, h("kbd", { "aria-hidden": "true" }, "N")));
    this.names = tags;
  }

  get keys() {
    const keys = { N: () => this.note.focus() };
    for (const { key, value, label } of this.scale ? STRENGTHS : []) {
      keys[key] = () => { this.scale.pick(value); say(label); };
    }
    this.names.forEach((_name, place) => {
      keys[TAG_KEYS[place]] = () => this.toggle(place);
    });
    return keys;
  }

  toggle(place) {
    const name = this.names[place];
    const isOn = !this.chosen.delete(name);
    if (isOn) this.chosen.add(name);
    this.tags[place].setAttribute("aria-pressed", String(isOn));
    say(`${name} ${isOn ? "on" : "off"}`);
  }

  get fields() {
    return {
      tags: this.names.filter((name) => this.chosen.has(name)),
      note: this.note.value.trim(),
      ...(this.scale ? { strength: this.strength } : {}),
    };
  }
}
