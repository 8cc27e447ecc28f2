/** Numbers at the ends of paths: where they hide neither each other nor a path. */

import { h, svg } from "./dom.js";

const SIZE = 30;         // Of a number, with what is left free around it [px].
const AWAY = 24;         // From the end of its path [px].
const FARTHEST = 5;      // Steps away from there that are tried.
const NUM_TURNS = 16;

export class CloudLabels {
  /** @param {number} count Paths, named 1 to `count`. */
  constructor(count) {
    const places = Array.from({ length: count }, (_each, place) => place + 1);
    this.badges = places.map((number) =>
      h("span", { class: `badge place-${number}`, "aria-hidden": "true" }, String(number)));
    this.leaders = places.map((number) => svg("line", { class: `leader place-${number}` }));
    this.crosshair = h("span", { class: "crosshair", hidden: true });
    this.element = h("div", { class: "cloud-labels" },
      svg("svg", { "aria-hidden": "true" }, this.leaders), this.badges, this.crosshair);
  }

  /**
   * Put every number beside the end of its path.
   *
   * @param {number[][][]} paths Points of each path as seen, from the upper left [px].
   * @param {number[]} size Width and height of the view [px].
   * @param {(place: number) => boolean} isDim
   */
  place(paths, size, isDim) {
    const taken = [];
    const points = paths.flat();
    paths.forEach((path, place) => {
      const [badge, leader] = [this.badges[place], this.leaders[place]];
      const end = path.at(-1);
      toggle(badge, Boolean(end));
      toggle(leader, Boolean(end));
      if (!end) return;
      const [x, y] = freePlace(path, { taken, size, points });
      taken.push([x, y]);
      badge.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
      badge.classList.toggle("dim", isDim(place));
      leader.classList.toggle("dim", isDim(place));
      const ends = { x1: end[0], y1: end[1], x2: x, y2: y };
      for (const [key, value] of Object.entries(ends)) leader.setAttribute(key, value.toFixed(1));
    });
  }

  /** Show where something is pointed at; null for nowhere. */
  pointAt(at) {
    this.crosshair.hidden = !at;
    if (at) {
      this.crosshair.style.transform = `translate(${at[0]}px, ${at[1]}px) translate(-50%, -50%)`;
    }
  }
}

/** Return the best place for a number: straight on from its path, unless something is there. */
function freePlace(path, around) {
  const end = path.at(-1);
  const [dx, dy] = [end[0] - path[0][0], end[1] - path[0][1]];
  const straight = Math.hypot(dx, dy) > 1 ? Math.atan2(dy, dx) : -Math.PI / 2;
  let best = { cost: Infinity };
  for (let step = 0; step < FARTHEST; step += 1) {
    for (let k = 0; k < NUM_TURNS; k += 1) {
      // Ever farther to both sides.
      const turn = (k % 2 ? 1 : -1) * Math.ceil(k / 2) * (2 * Math.PI / NUM_TURNS);
      const away = AWAY + 0.7 * SIZE * step;
      const at = [end[0] + away * Math.cos(straight + turn), end[1] + away * Math.sin(straight + turn)];
      const cost = 12 * step + 6 * Math.abs(turn) + trouble(at, around);
      if (cost < best.cost) best = { cost, at };
    }
  }
  return best.at;
}

/** Return how much a number would hide there, or be hidden. */
function trouble([x, y], { taken, size: [width, height], points }) {
  const isOutside = x < SIZE / 2 || y < SIZE / 2 || x > width - SIZE / 2 || y > height - SIZE / 2;
  const isNear = ([a, b], away) => Math.abs(a - x) < away && Math.abs(b - y) < away;
  const hidden = points.filter((point) => isNear(point, SIZE / 2 + 2)).length;
  return (isOutside ? 300 : 0) + (taken.some((each) => isNear(each, SIZE)) ? 1000 : 0)
    + Math.min(hidden * 8, 200);
}

/** Show or hide; an SVG element has no `hidden` of its own. */
function toggle(element, isShown) {
  element.toggleAttribute("hidden", !isShown);
}
