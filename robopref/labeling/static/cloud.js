/** A point cloud with numbered paths over it, to be turned, moved and zoomed. */

import { send } from "./api.js";
import { OrbitCamera, TopCamera, diagonal, focusOn, project } from "./camera.js";
import { contrasted, readColors } from "./cloud_colors.js";
import { CloudFlat } from "./cloud_flat.js";
import { CloudGl } from "./cloud_gl.js";
import { CloudLabels } from "./cloud_labels.js";
import { h, say } from "./dom.js";
import { listenToGestures } from "./gestures.js";

const POINT = 14;
const OTHERS = 7;  // Whose colour those beyond the last one have, as their numbers do.

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
    this.labels = new CloudLabels(this.paths.length);
    this.element = h("div", { class: "cloud", role: "img", tabindex: 0 });
    const { bounds } = observation;
    const points = this.paths.flatMap((path) => path.points);
    const focus = focusOn(points, bounds);
    this.focus = [focus[0].map((value, axis) => (value + focus[1][axis]) / 2), diagonal(focus) / 2];
    this.cameras = { space: new OrbitCamera(focus, bounds, points), top: new TopCamera(focus, bounds) };
    this.scheme = window.matchMedia("(prefers-color-scheme: dark)");
    this.onscheme = () => { Object.assign(this, readColors()); this.showPoints(); };
    this.scheme.addEventListener("change", this.onscheme);
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
    Object.assign(this, readColors());
    this.renderer?.close();
    this.canvas = h("canvas", {});
    this.element.replaceChildren(this.canvas, this.labels.element);
    try {
      this.renderer = mode === "space" ? new CloudGl(this.canvas) : new CloudFlat(this.canvas);
    } catch {
      CloudView.known = false;
      this.setUp("top");
      return;
    }
    const { canvas } = this;
    canvas.addEventListener("webglcontextlost", () => {
      if (canvas === this.canvas && !this.closed) this.setUp("top");
    });
    const words = mode === "space" ? "View in three dimensions" : "View from above";
    this.element.setAttribute("aria-label",
      `${words} of ${this.paths.length} action candidates on a point cloud`);
    this.showPoints();
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
    this.showPoints();
  }

  showPoints() {
    if (this.positions) {
      this.renderer.setPoints(this.positions, contrasted(this.colors, this.ground));
    }
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
    const whole = diagonal(this.observation.bounds);
    this.renderer.draw(matrix, this.strokes(density), {
      pointSize: POINT * density * (this.mode === "space" ? 0.45 * whole : 25),
      focus: this.focus,
    });
    this.placeLabels(matrix, width, height);
  }

  /** Return what is drawn: dim ones first, then the others, each over a border like the ground. */
  strokes(density) {
    const rank = (place) => ({ weak: 0, strong: 2 })[this.emphasis.get(place)] ?? 1;
    const places = this.paths.map((_path, place) => place).sort((a, b) => rank(a) - rank(b));
    const found = places.flatMap((place) => {
      const color = this.palette[place] ?? this.palette[OTHERS];
      const alpha = [0.25, 0.95, 1][rank(place)];
      const width = [3, 4, 7][rank(place)] * density;
      const { points, objects = {} } = this.paths[place];
      return [
        { points, color: this.ground, width: width + 3 * density, alpha: 0.7 * alpha },
        { points, color, width, alpha },
        ...Object.values(objects).map((moved) =>
          ({ points: moved, color, width: 2 * density, alpha: 0.6 * alpha })),
      ];
    });
    if (this.own.length) {
      found.push({ points: this.own, color: this.ground, width: 9 * density, alpha: 0.9 });
      found.push({ points: this.own, color: this.ink, width: 5 * density, alpha: 1 });
    }
    return found;
  }

  placeLabels(matrix, width, height) {
    const seen = (point) => {
      const at = project(matrix, point);
      return at && [at[0] * width, at[1] * height];
    };
    const paths = this.paths.map(({ points }) => {
      const found = points.map(seen);
      return found.at(-1) ? found.filter(Boolean) : [];
    });
    this.labels.place(paths, [width, height], (place) => this.emphasis.get(place) === "weak");
    const point = this.cursor ?? this.own.at(-1);
    this.labels.pointAt(point ? seen(point) : null);
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

  widen() {
    this.camera.widen();
    this.redraw();
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.onscheme);
    this.renderer.close();
  }
}
