/** Where a point cloud is looked at from, and the mathematics of it. Columns first, as in WebGL. */

const FIELD = 0.7;   // Height of the view as an angle [rad].
const FILLED = 0.6;  // Share of the view that the paths fill at first; numbers stand around them.

export class OrbitCamera {
  /**
   * @param {number[][]} focus Least and greatest x, y, z of what is looked at first [m].
   * @param {number[][]} bounds Those of all there is to see.
   * @param {number[][]} points Points of the focus, to go near enough to.
   */
  constructor(focus, bounds, points) {
    const angle = { turn: -0.9, lift: 0.75 };
    this.home = { ...OrbitCamera.over(focus), ...angle };
    this.whole = { ...OrbitCamera.over(bounds), ...angle };
    this.reset();
    this.approach(points);
  }

  /** Go as near as all points allow; who hardly moves is not magnified without end. */
  approach(points) {
    const least = 0.1 * this.whole.distance;
    for (let round = 0; round < 4; round += 1) {  // Nearer things grow more, so not at once.
      const matrix = this.matrix(1);
      const seen = points.map((point) => project(matrix, point)).filter(Boolean);
      const extent = Math.max(...seen.flatMap(([x, y]) => [Math.abs(2 * x - 1), Math.abs(2 * y - 1)]));
      this.distance = Math.max(least, (this.distance * extent) / FILLED);
    }
    this.home.distance = this.distance;
  }

  static over([low, high]) {
    return {
      target: low.map((value, axis) => (value + high[axis]) / 2),
      distance: Math.max(0.05, (0.42 * diagonal([low, high])) / Math.tan(FIELD / 2)),
    };
  }

  reset(where = this.home) {
    Object.assign(this, where, { target: [...where.target] });
  }

  /** Show all there is. */
  widen() {
    this.reset(this.whole);
  }

  orbit(turn, lift) {
    this.turn += turn;
    this.lift = Math.min(Math.max(this.lift + lift, -1.5), 1.5);
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, this.home.distance / 30),
      3 * Math.max(this.home.distance, this.whole.distance));
  }

  /** Move what is looked at, by shares of the view's height. */
  pan(right, up) {
    const { side, above } = this.axes();
    const size = 2 * Math.tan(FIELD / 2) * this.distance;
    for (let axis = 0; axis < 3; axis += 1) {
      this.target[axis] += size * (right * side[axis] + up * above[axis]);
    }
  }

  axes() {
    const back = [
      Math.cos(this.lift) * Math.cos(this.turn),
      Math.cos(this.lift) * Math.sin(this.turn),
      Math.sin(this.lift),
    ];
    const side = [-Math.sin(this.turn), Math.cos(this.turn), 0];
    return { back, side, above: cross(back, side) };
  }

  /** Return the matrix from the world to the view, as WebGL wants it. */
  matrix(aspect) {
    const { back, side, above } = this.axes();
    const eye = this.target.map((value, axis) => value + this.distance * back[axis]);
    const view = [
      side[0], above[0], back[0], 0, side[1], above[1], back[1], 0,
      side[2], above[2], back[2], 0, -dot(side, eye), -dot(above, eye), -dot(back, eye), 1,
    ];
    const near = this.distance / 100;
    const far = this.distance * 20 + 6 * this.whole.distance;
    // The smaller side of the view is the one that shows the angle.
    const scale = Math.min(1, aspect) / Math.tan(FIELD / 2);
    const lens = [
      scale / aspect, 0, 0, 0, 0, scale, 0, 0,
      0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0,
    ];
    return multiply(lens, view);
  }
}

/** Looks straight down, without perspective. */
export class TopCamera {
  constructor(focus, bounds) {
    Object.assign(this, { focus, bounds });
    this.reset();
  }

  reset([low, high] = this.focus) {
    this.centre = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
    this.size = 1.3 * Math.max(high[0] - low[0], high[1] - low[1]);
    this.turn = 0;
  }

  widen() {
    this.reset(this.bounds);
  }

  orbit(turn) {
    this.turn += turn;
  }

  zoom(factor) {
    this.size *= factor;
  }

  pan(right, up) {
    const [c, s] = [Math.cos(this.turn), Math.sin(this.turn)];
    this.centre[0] += this.size * (right * c - up * s);
    this.centre[1] += this.size * (right * s + up * c);
  }

  matrix(aspect) {
    // The smaller side of the view shows the whole scene.
    const scale = (2 / this.size) * Math.min(1, aspect);
    const [c, s] = [Math.cos(this.turn) * scale, Math.sin(this.turn) * scale];
    const [x, y] = this.centre;
    return [
      c / aspect, -s, 0, 0, s / aspect, c, 0, 0, 0, 0, 1, 0,
      -(c * x + s * y) / aspect, s * x - c * y, 0, 1,
    ];
  }
}

/** Return what to look at first: what surrounds `points`, with a fifth of it around. */
export function focusOn(points, bounds) {
  const sides = [0, 1, 2].map((axis) => points.map((point) => point[axis]));
  const span = Math.max(...sides.map((side) => Math.max(...side) - Math.min(...side)));
  // Who hardly moves is not magnified without end.
  const margin = Math.max(0.2 * span, 0.02 * diagonal(bounds));
  return [
    sides.map((side) => Math.min(...side) - margin), sides.map((side) => Math.max(...side) + margin),
  ];
}

/** Return the length of the diagonal between the least and the greatest x, y, z. */
export function diagonal([low, high]) {
  return Math.hypot(...low.map((value, axis) => high[axis] - value));
}

/** Return where a point is seen, in shares of the view from its upper left; null behind the eye. */
export function project(matrix, [x, y, z]) {
  const at = (row) => matrix[row] * x + matrix[4 + row] * y + matrix[8 + row] * z + matrix[12 + row];
  const w = at(3);
  return w <= 0 ? null : [(at(0) / w + 1) / 2, (1 - at(1) / w) / 2, at(2) / w];
}

function multiply(a, b) {
  const product = new Array(16).fill(0);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      for (let k = 0; k < 4; k += 1) {
        product[4 * column + row] += a[4 * k + row] * b[4 * column + k];
      }
    }
  }
  return product;
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}
