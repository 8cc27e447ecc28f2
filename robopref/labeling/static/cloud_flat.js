/** Draws a point cloud and paths over it on a plain canvas, for browsers without WebGL2. */

import { project } from "./camera.js";

const MOST_POINTS = 20_000;

export class CloudFlat {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.positions = new Float32Array();
    this.colors = new Uint8Array();
  }

  setPoints(positions, colors) {
    this.positions = positions;
    this.colors = colors;
    this.stride = Math.max(1, Math.ceil(positions.length / 3 / MOST_POINTS));
    // What lies lower is drawn first.
    this.order = Array.from({ length: positions.length / 3 }, (_each, k) => k)
      .filter((k) => k % this.stride === 0)
      .sort((a, b) => positions[3 * a + 2] - positions[3 * b + 2]);
  }

  draw(matrix, paths, { pointSize }) {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const size = Math.min(Math.max(pointSize / 120, 2), 6);
    for (const k of this.order ?? []) {
      const at = project(matrix, this.positions.subarray(3 * k, 3 * k + 3));
      if (!at) continue;
      context.fillStyle = `rgb(${this.colors.subarray(3 * k, 3 * k + 3).join(" ")})`;
      context.fillRect(at[0] * canvas.width - size / 2, at[1] * canvas.height - size / 2, size, size);
    }
    context.lineJoin = "round";
    context.lineCap = "round";
    for (const { points, color, width, alpha } of paths) {
      context.strokeStyle = `rgb(${color.join(" ")} / ${alpha})`;
      context.lineWidth = width;
      context.beginPath();
      for (const point of points) {
        const at = project(matrix, point);
        if (at) context.lineTo(at[0] * canvas.width, at[1] * canvas.height);
      }
      context.stroke();
    }
  }

  close() {}
}
