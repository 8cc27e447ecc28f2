/** Draws a point cloud and paths over it with WebGL2. */

const POINTS = {
  vertex: `#version 300 es
    uniform mat4 matrix; uniform float size; uniform vec4 focus;
    in vec3 position; in vec3 color; out vec4 shade;
    void main() {
      gl_Position = matrix * vec4(position, 1.0);
      // Where the paths are, points are small and let them be seen.
      float near = 1.0 - smoothstep(focus.w, 2.0 * focus.w, distance(position, focus.xyz));
      gl_PointSize = clamp(size / gl_Position.w, 1.5, mix(8.0, 6.0, near));
      shade = vec4(color, mix(0.9, 0.6, near));
    }`,
  fragment: `#version 300 es
    precision mediump float; in vec4 shade; out vec4 result;
    void main() {
      if (length(gl_PointCoord - 0.5) > 0.5) discard;
      result = shade;
    }`,
};
// A line is a strip of quads, as wide on the screen whatever its distance.
const LINES = {
  vertex: `#version 300 es
    uniform mat4 matrix; uniform vec2 view; uniform float width;
    in vec3 from; in vec3 to; in vec2 corner;
    void main() {
      vec4 a = matrix * vec4(from, 1.0); vec4 b = matrix * vec4(to, 1.0);
      vec2 along = (b.xy / b.w - a.xy / a.w) * view;
      vec2 across = length(along) > 1e-4 ? normalize(vec2(-along.y, along.x)) : vec2(0.0, 1.0);
      vec4 end = corner.x < 0.5 ? a : b;
      vec2 tip = length(along) > 1e-4 ? normalize(along) * (corner.x - 0.5) : vec2(0.0);
      end.xy += (across * corner.y + tip) * width / view * end.w;
      gl_Position = end;
    }`,
  fragment: `#version 300 es
    precision mediump float; uniform vec4 tint; out vec4 result;
    void main() { result = tint; }`,
};

export class CloudGl {
  /** Raises if there is no WebGL2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("This browser has no WebGL2.");
    this.points = this.program(POINTS);
    this.lines = this.program(LINES);
    this.count = 0;
  }

  program({ vertex, fragment }) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(`WebGL2: ${gl.getProgramInfoLog(program)}`);
    }
    return program;
  }

  /** Take the points: positions (P, 3) as float32, colours (P, 3) as bytes. */
  setPoints(positions, colors) {
    const { gl } = this;
    this.count = positions.length / 3;
    this.pointArray = gl.createVertexArray();
    gl.bindVertexArray(this.pointArray);
    this.attribute(this.points, "position", positions, 3, gl.FLOAT);
    this.attribute(this.points, "color", colors, 3, gl.UNSIGNED_BYTE);
  }

  attribute(program, name, data, size, type, divisor = 0) {
    const { gl } = this;
    const at = gl.getAttribLocation(program, name);
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, type === gl.UNSIGNED_BYTE, 0, 0);
    gl.vertexAttribDivisor(at, divisor);
    return buffer;
  }

  /**
   * Draw everything.
   *
   * @param {number[]} matrix From the world to the view.
   * @param {object[]} paths {points, color: [r, g, b], width, alpha}, the last on top.
   * @param {{pointSize: number, focus: [number[], number]}} options Where the paths are, as a
   *   centre and a radius.
   */
  draw(matrix, paths, options) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (this.count) this.drawPoints(matrix, options);
    // Paths are what is judged, so no point hides them.
    this.blend();
    for (const path of paths) this.drawPath(matrix, path);
    gl.disable(gl.BLEND);
  }

  blend() {
    const { gl } = this;
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  drawPoints(matrix, { pointSize, focus: [centre, radius] }) {
    const { gl } = this;
    const uniform = (name) => gl.getUniformLocation(this.points, name);
    gl.useProgram(this.points);
    gl.uniformMatrix4fv(uniform("matrix"), false, matrix);
    gl.uniform1f(uniform("size"), pointSize);
    gl.uniform4f(uniform("focus"), ...centre, radius);
    gl.bindVertexArray(this.pointArray);
    gl.enable(gl.DEPTH_TEST);
    // First how far they are, so that behind a translucent one no other shows.
    gl.colorMask(false, false, false, false);
    gl.drawArrays(gl.POINTS, 0, this.count);
    gl.colorMask(true, true, true, true);
    gl.depthFunc(gl.LEQUAL);
    this.blend();
    gl.drawArrays(gl.POINTS, 0, this.count);
    gl.disable(gl.BLEND);
    gl.depthFunc(gl.LESS);
    gl.disable(gl.DEPTH_TEST);
  }

  drawPath(matrix, { points, color, width, alpha }) {
    if (points.length < 2) return;
    const { gl, canvas } = this;
    const flat = new Float32Array(points.flat());
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.useProgram(this.lines);
    const buffers = [
      this.attribute(this.lines, "from", flat.subarray(0, flat.length - 3), 3, gl.FLOAT, 1),
      this.attribute(this.lines, "to", flat.subarray(3), 3, gl.FLOAT, 1),
      this.attribute(this.lines, "corner", new Float32Array([0, -1, 0, 1, 1, -1, 1, 1]), 2, gl.FLOAT),
    ];
    const uniform = (name) => gl.getUniformLocation(this.lines, name);
    gl.uniformMatrix4fv(uniform("matrix"), false, matrix);
    gl.uniform2f(uniform("view"), canvas.width, canvas.height);
    gl.uniform1f(uniform("width"), width);
    gl.uniform4f(uniform("tint"), ...color.map((value) => value / 255), alpha);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, points.length - 1);
    for (const buffer of buffers) gl.deleteBuffer(buffer);
    gl.deleteVertexArray(array);
  }

  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
