/** Small charts as SVG. */

import { h, svg } from "./dom.js";

const WIDTH = 520;
const HEIGHT = 190;
const MOST_BARS = 30;
const FEWEST_BARS = 7;  // Whose room is kept, so that one bar is no wall.
const MARGIN = { left: 62, right: 16, top: 12, bottom: 44 };

/**
 * Return a line over time or labels, with a band for its interval where there is one.
 *
 * @param {{x: number, y: number, low?: number, high?: number}[]} points Ascending in x.
 * @param {{label: string, xTitle: string, yTitle: string, yLabel: (y: number) => string,
 *   range?: number[], guide?: {y: number, label: string}}} options Both axes start at 0, unless
 *   `range` gives the ends of the upright one.
 */
export function lineChart(points, { label, xTitle, yTitle, yLabel, range, guide }) {
  if (!points.length) return h("p", { class: "muted empty" }, "Nothing to draw yet.");
  const xEnd = niceAbove(Math.max(...points.map(({ x }) => x)));
  const ys = points.flatMap(({ y, low, high }) => [y, low ?? y, high ?? y]);
  const [y0, y1] = range ?? [0, niceAbove(Math.max(...ys))];
  const right = WIDTH - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const isOne = points.length === 1;
  const px = (x) => MARGIN.left + (x / xEnd) * (right - MARGIN.left);
  const py = (y) => bottom - ((y - y0) / (y1 - y0 || 1)) * (bottom - MARGIN.top);
  const last = points.at(-1);
  const hasBand = points.some(({ low }) => low !== undefined && low !== null);
  const ends = isOne ? [last] : [points[0], last];
  const at = ({ x, y }) => `${yLabel(y)} at ${x} ${xTitle}`;
  const words = `${label}: ${ends.map(at).join(", ")}`;
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
    ticks(y0, y1).map((y) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: py(y), y2: py(y) }),
      svg("text", { x: MARGIN.left - 8, y: py(y) + 4, "text-anchor": "end" }, yLabel(y)),
    ]),
    ticks(0, xEnd).map((x) => svg("text", {
      x: px(x), y: bottom + 17, "text-anchor": "middle",
    }, String(x))),
    titles(xTitle, yTitle),
    guide && [
      svg("line", { class: "guide", x1: MARGIN.left, x2: right, y1: py(guide.y), y2: py(guide.y) }),
      // Below: what is drawn is mostly above it.
      svg("text", { x: right, y: py(guide.y) + 14, "text-anchor": "end" }, guide.label),
    ],
    hasBand && (isOne
      ? svg("line", {
        class: "whisker", x1: px(last.x), x2: px(last.x), y1: py(last.low ?? last.y), y2: py(last.high ?? last.y),
      })
      : svg("path", { class: "band", d: band(points, px, py) })),
    svg("path", { class: "line", d: line(points, px, py) }),
    svg("circle", { class: "dot", cx: px(last.x), cy: py(last.y), r: 4 },
      svg("title", {}, at(last))));
}

function titles(xTitle, yTitle) {
  const middle = (MARGIN.top + HEIGHT - MARGIN.bottom) / 2;
  return [
    svg("text", { x: (MARGIN.left + WIDTH - MARGIN.right) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, xTitle),
    svg("text", { transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yTitle),
  ];
}

/**
 * Return a bar for each of some values, the newest ones.
 *
 * @param {{label: string, value: number}[]} bars One for each place of the axis, 0 too.
 * @param {{label: string, xTitle: string, yTitle: string}} options
 */
export function barChart(bars, { label, xTitle, yTitle }) {
  if (!bars.length) return h("p", { class: "muted empty" }, "Nothing yet.");
  const shown = bars.slice(-MOST_BARS);
  const high = niceAbove(Math.max(...shown.map(({ value }) => value)));
  const bottom = HEIGHT - MARGIN.bottom;
  const py = (y) => bottom - (y / high) * (bottom - MARGIN.top);
  const room = (WIDTH - MARGIN.left - MARGIN.right) / Math.max(shown.length, FEWEST_BARS);
  const every = Math.ceil(shown.length / 6);
  const words = `${label}: ${shown.map((bar) => `${bar.label} ${bar.value}`).join(", ")}`;
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
    ticks(0, high).map((y) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: py(y), y2: py(y) }),
      svg("text", { x: MARGIN.left - 8, y: py(y) + 4, "text-anchor": "end" }, y.toFixed(0)),
    ]),
    titles(xTitle, yTitle),
    shown.map((bar, k) => [
      svg("rect", {
        class: "bar", x: MARGIN.left + k * room + 0.15 * room, width: 0.7 * room, y: py(bar.value),
        height: bottom - py(bar.value), rx: 3,
      }, svg("title", {}, `${bar.label}: ${bar.value}`)),
      k % every === 0 && svg("text", {
        x: MARGIN.left + (k + 0.5) * room, y: bottom + 17, "text-anchor": "middle",
      }, bar.label),
    ]));
}

function line(points, px, py) {
  return points
    .map(({ x, y }, k) => `${k ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`)
    .join("");
}

function band(points, px, py) {
  const upper = points.map(({ x, y, high }) => `${px(x).toFixed(1)} ${py(high ?? y).toFixed(1)}`);
  const lower = points.map(({ x, y, low }) => `${px(x).toFixed(1)} ${py(low ?? y).toFixed(1)}`);
  return `M${upper.join("L")}L${lower.reverse().join("L")}Z`;
}

/** Return an interval as a bar with a point in it, on a scale that others share. */
export function intervalBar({ value, low, high }, [from, to], words) {
  const at = (x) => ((x - from) / (to - from || 1)) * 200;
  return svg("svg", { class: "interval", viewBox: "-6 0 212 18", role: "img", "aria-label": words },
    from < 0 && to > 0 && svg("line", { class: "guide", x1: at(0), x2: at(0), y1: 0, y2: 18 }),
    svg("line", { class: "whisker", x1: at(low), x2: at(high), y1: 9, y2: 9 }),
    svg("circle", { class: "dot", cx: at(value), cy: 9, r: 5 }));
}

/** Return a bar of shares that make up a whole. */
export function shareBar(shares) {
  const total = shares.reduce((sum, { value }) => sum + value, 0) || 1;
  let x = 0;
  return svg("svg", {
    class: "shares", viewBox: "0 0 200 14", preserveAspectRatio: "none", role: "img",
    "aria-label": shares.map(({ label, value }) => `${label} ${value}`).join(", "),
  }, shares.map(({ value, name }) => {
    const width = (value / total) * 200;
    x += width;
    return svg("rect", { class: name, x: x - width, y: 0, width, height: 14 });
  }));
}

function ticks(low, high) {
  return Array.from({ length: 5 }, (_each, k) => low + (k * (high - low)) / 4);
}

/** Return a round number not below `value` whose quarters are round as well. */
function niceAbove(value) {
  const quarter = Math.max(value / 4, 1);
  const unit = 10 ** Math.floor(Math.log10(quarter));
  const steps = unit < 10 ? [1, 2, 3, 4, 5, 6, 8, 10] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  return 4 * unit * steps.find((each) => each * unit >= quarter);
}
