/** The way to choose by which criterion is judged. */

import { h } from "./dom.js";

/**
 * Return a list of the criteria; hidden where there is one only.
 *
 * @param {{criteria: {name: string}[]}} project
 * @param {() => void} onchange
 * @param {{all?: string}} options What stands for all of them, whose value is "", if that is offered.
 */
export function criterionPicker({ criteria }, onchange, { all = null } = {}) {
  const select = h("select", { "aria-label": "Criterion", onchange: () => { select.blur(); onchange(); } },
    all && h("option", { value: "" }, all),
    criteria.map(({ name }) => h("option", { value: name }, name)));
  select.hidden = criteria.length < 2;
  return { element: select, get value() { return select.value; } };
}
