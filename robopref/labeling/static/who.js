/** A question about who is labelling, where the browser and its user may be of two minds. */

import { button, h, say } from "./dom.js";
import { addKeys } from "./keys.js";

export class WhoPage {
  /**
   * @param {string} title What is asked.
   * @param {string} words What it means.
   * @param {{yes: [string, () => void], no: [string, () => void]}} choices Label of each button,
   *   and what it does.
   */
  constructor(title, words, { yes, no }) {
    Object.assign(this, { title, words });
    // Nothing is focused but the question: a key pressed for what was shown before must not answer.
    this.heading = h("h1", { tabindex: "-1" }, title);
    this.element = h("div", { class: "card sign-in who-asks" }, this.heading,
      h("p", { class: "muted" }, words),
      h("div", { class: "row wrap" },
        button(yes[0], { class: "primary", key: "Y", onclick: yes[1] }),
        button(no[0], { key: "Esc", onclick: no[1] })));
    this.stopKeys = addKeys({ Y: yes[1], Escape: no[1] });
  }

  start() {
    this.heading.focus();
    say(`${this.title} ${this.words}`, { urgent: true });
  }

  close() {
    this.stopKeys();
  }
}
