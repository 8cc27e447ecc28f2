/** Curves under a clip: what was measured at each picture, on one scale for all clips. */

import { button, h, svg } from "./dom.js";

const WIDTH = 200;
const HEIGHT = 26;

/**
 * Draw the curves of one clip into a box.
 *
 * @param {HTMLElement} box
 * @param {object[][]} all The lanes of every clip, for their common scale.
 * @param {number} place Which clip this is.
 * @param {{numFrames: number, showHidden: boolean, onreveal: () => void}} options
 * @returns {{mark: (frame: number) => void}} Moves the line that stands at the picture seen.
 */
export function drawLanes(box, all, place, { numFrames, showHidden, onreveal }) {
  const own = all[place];
  const shown = own.filter((lane) => showHidden || !lane.hidden);
  const cursors = [];
  for (const lane of shown) {
    const values = all.flatMap((lanes) =>
      lanes.filter((each) => each.name === lane.name).flatMap((each) => each.values));
    const low = Math.min(...values);
    const high = Math.max(...values);
    const cursor = svg("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: HEIGHT });
    cursors.push({ cursor, lane, value: h("span", { class: "lane-value" }) });
    box.append(h("div", { class: "lane" },
      h("span", { class: "lane-name" }, lane.name),
      svg("svg", {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
        "aria-label": `${lane.name}, from ${round(low)} to ${round(high)} ${lane.unit}`,
      }, svg("path", { d: path(lane.values, low, high, numFrames) }), cursor),
      cursors.at(-1).value));
  }
  if (shown.length < own.length) {
    box.append(button("Show the learned reward", { class: "quiet small", onclick: onreveal }));
  }
  if (!own.length) box.append(h("p", { class: "muted small" }, "Nothing was measured."));
  return {
    mark(frame) {
      const x = String((frame / Math.max(1, numFrames - 1)) * WIDTH);
      for (const { cursor, lane, value } of cursors) {
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
        const now = lane.values[Math.min(frame, lane.values.length - 1)];
        value.textContent = `${round(now)} ${lane.unit}`;
      }
    },
  };
}

function path(values, low, high, numFrames) {
  const scale = high > low ? (HEIGHT - 4) / (high - low) : 0;
  const step = WIDTH / Math.max(1, numFrames - 1);
  return values
    .map((value, k) =>
      `${k ? "L" : "M"}${(k * step).toFixed(1)} ${(HEIGHT - 2 - (value - low) * scale).toFixed(1)}`)
    .join("");
}

function round(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
}
