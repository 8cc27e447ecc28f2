/** A point cloud with numbered paths over it, to be turned, moved and zoomed. */

import { send } from "./api.js";
import { OrbitCamera, TopCamera, focusOn, project } from "./camera.js";
import { CloudFlat } from "./cloud_flat.js";
import { CloudGl } from "./cloud_gl.js";
import { h, say } from "./dom.js";
import { listenToGestures } from "./gestures.js";

/** Colours that differ for colour-blind people too (Okabe and Ito), as the badges have them. */
export const COLORS = [
  [0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [150, 110, 20], [86, 180, 233],
  [230, 159, 0], [110, 110, 110], [120, 60, 160],
];
const OWN = [20, 20, 20];
const POINT = 14;

export class CloudView {
  /**
   * @param {{cloud: string, num_points: number, bounds: number[][], candidates: object[]}}
   *   observation As the server gives it.
   * @param {{order: number[], onpoint: (point: number[]) => void}} options Order in which the
   *   candidates are numbered; what to do with a point that was pointed at.
   */
  constructor(observation, { order, onpoint }) {
    Object.assign(this, { observation, onpoint });
    this.paths = order.map((index) =>
      observation.candidates.find((each) => each.index === index).primitive);
    this.emphasis = new Map();  // place -> "strong" or "weak"
    this.own = [];
    this.cursor = null;
    this.labels = this.paths.map((_path, place) =>
      h("span", { class: `badge place-${place + 1}`, "aria-hidden": "true" }, String(place + 1)));
    this.overlay = h("div", { class: "cloud-labels" }, this.labels);
    this.crosshair = h("span", { class: "crosshair", hidden: true });
    this.overlay.append(this.crosshair);
    this.element = h("div", { class: "cloud", role: "img", tabindex: 0 });
    const focus = focusOn(this.paths.flatMap((path) => path.points), observation.bounds);
    this.cameras = { space: new OrbitCamera(focus), top: new TopCamera(focus) };
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(this.element);
    listenToGestures(this.element, this);
    this.setUp(CloudView.hasWebGl ? "space" : "top");
  }

  static get hasWebGl() {
    CloudView.known ??= Boolean(document.createElement("canvas").getContext("webgl2"));
    return CloudView.known;
  }

  get camera() {
    return this.cameras[this.mode];
  }

  /** Change how it is drawn: "space" with WebGL2, or "top" on a plain canvas. */
  setUp(mode) {
    this.mode = mode;
    this.renderer?.close();
    this.canvas = h("canvas", {});
    this.element.replaceChildren(this.canvas, this.overlay);
    try {
      this.renderer = mode === "space" ? new CloudGl(this.canvas) : new CloudFlat(this.canvas);
    } catch {
      CloudView.known = false;
      this.setUp("top");
      return;
    }
    this.canvas.addEventListener("webglcontextlost", () => {
      if (this.mode === "space" && !this.closed) this.setUp("top");
    });
    const words = mode === "space" ? "View in three dimensions" : "View from above";
    this.element.setAttribute("aria-label",
      `${words} of ${this.paths.length} action candidates on a point cloud`);
    if (this.positions) this.renderer.setPoints(this.positions, this.colors);
    this.redraw();
  }

  toggleMode() {
    if (this.mode === "top" && !CloudView.hasWebGl) {
      say("This browser has no WebGL2: only the view from above.");
      return;
    }
    this.setUp(this.mode === "space" ? "top" : "space");
    say(this.mode === "top" ? "View from above" : "View in three dimensions");
  }

  async load() {
    const content = await (await send(this.observation.cloud)).arrayBuffer();
    if (this.closed) return;
    const count = content.byteLength / 15;  // Three floats and three bytes each.
    this.positions = new Float32Array(content, 0, 3 * count);
    this.colors = new Uint8Array(content, 12 * count, 3 * count);
    this.renderer.setPoints(this.positions, this.colors);
    this.redraw();
  }

  redraw() {
    this.pending ??= requestAnimationFrame(() => { this.pending = null; this.draw(); });
  }

  draw() {
    const { canvas, element } = this;
    const { clientWidth: width, clientHeight: height } = element;
    if (this.closed || !width || !height) return;
    const density = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = width * density;
    canvas.height = height * density;
    this.aspect = width / height;
    const matrix = this.camera.matrix(this.aspect);
    const [low, high] = this.observation.bounds;
    const diagonal = Math.hypot(...low.map((value, axis) => high[axis] - value));
    this.renderer.draw(matrix, this.strokes(density), {
      pointSize: POINT * density * (this.mode === "space" ? 0.45 * diagonal : 25),
    });
    this.placeLabels(matrix);
  }

  /** Return what is drawn: dim ones first, then the others, each over a pale border. */
  strokes(density) {
    const rank = (place) => ({ weak: 0, strong: 2 })[this.emphasis.get(place)] ?? 1;
    const places = this.paths.map((_path, place) => place).sort((a, b) => rank(a) - rank(b));
    const found = places.flatMap((place) => {
      const color = COLORS[place % COLORS.length];
      const alpha = [0.25, 0.95, 1][rank(place)];
      const width = [3, 4, 7][rank(place)] * density;
      const { points, objects = {} } = this.paths[place];
      return [
        { points, color: [255, 255, 255], width: width + 3 * density, alpha: 0.7 * alpha },
        { points, color, width, alpha },
        ...Object.values(objects).map((moved) =>
          ({ points: moved, color, width: 2 * density, alpha: 0.6 * alpha })),
      ];
    });
    if (this.own.length) {
      found.push({ points: this.own, color: [255, 255, 255], width: 9 * density, alpha: 0.9 });
      found.push({ points: this.own, color: OWN, width: 5 * density, alpha: 1 });
    }
    return found;
  }

  placeLabels(matrix) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const taken = [];
    this.labels.forEach((label, place) => {
      const [from, at] = [this.paths[place].points[0], this.paths[place].points.at(-1)]
        .map((point) => project(matrix, point));
      label.hidden = !at;
      if (!at) return;
      // Beyond the end, as seen from the beginning, so that the end itself stays free.
      const [dx, dy] = from ? [(at[0] - from[0]) * width, (at[1] - from[1]) * height] : [0, -1];
      const away = 24 / Math.max(Math.hypot(dx, dy), 1e-6);
      let [x, y] = [at[0] * width + dx * away, at[1] * height + dy * away];
      // Numbers of paths that end together stand beside each other.
      while (taken.some(([a, b]) => Math.hypot(a - x, b - y) < 29)) x += 30;
      taken.push([x, y]);
      label.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
      label.classList.toggle("dim", this.emphasis.get(place) === "weak");
    });
    const point = this.cursor ?? this.own.at(-1);
    const at = point && project(matrix, point);
    this.crosshair.hidden = !at;
    if (at) {
      this.crosshair.style.transform =
        `translate(${at[0] * width}px, ${at[1] * height}px) translate(-50%, -50%)`;
    }
  }

  /** Return the point of the cloud that is seen nearest to a place on the screen, if any is near. */
  pick(x, y) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const matrix = this.camera.matrix(this.aspect);
    let best = { score: 28, point: null };
    for (let k = 0; k < this.positions.length; k += 3) {
      const point = this.positions.subarray(k, k + 3);
      const at = project(matrix, point);
      if (!at) continue;
      const away = Math.hypot(at[0] * width - x, at[1] * height - y);
      // Of points that lie behind each other the nearest is meant.
      const score = away + (this.mode === "space" ? 8 * at[2] : -20 * point[2]);
      if (away < 28 && score < best.score) best = { score, point: Array.from(point) };
    }
    return best.point;
  }

  // What gestures do.
  onorbit(turn, lift) { this.camera.orbit(turn, lift); this.redraw(); }
  onpan(right, up) { this.camera.pan(right, up); this.redraw(); }
  onzoom(factor) { this.camera.zoom(factor); this.redraw(); }
  ontap(x, y) {
    const point = this.positions ? this.pick(x, y) : null;
    if (point) this.onpoint(point);
  }

  reset() {
    this.camera.reset();
    this.redraw();
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
    this.renderer.close();
  }
}
