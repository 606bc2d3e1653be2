"use strict";
// A small viewer for one mesh: orbit, pan and zoom by mouse, touch, keyboard or buttons; several colourings.
// It draws only when something changed, and it asks the network for nothing.

const VERTEX_SHADER = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
uniform mat4 clipFromModel;
uniform mat4 viewFromModel;
out vec3 viewNormal;
out vec2 pictureUv;
out vec3 corner;
void main() {
  gl_Position = clipFromModel * vec4(position, 1.0);
  viewNormal = mat3(viewFromModel) * normal;
  pictureUv = uv;
  int index = gl_VertexID % 3;
  corner = vec3(index == 0, index == 1, index == 2);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 viewNormal;
in vec2 pictureUv;
in vec3 corner;
uniform sampler2D picture;
uniform float pictureShare;
uniform float lightShare;
uniform bool hasEdges;
out vec4 colour;
void main() {
  vec3 facing = normalize(viewNormal) * (gl_FrontFacing ? 1.0 : -1.0);
  float key = max(dot(facing, normalize(vec3(-0.4, 0.6, 0.7))), 0.0);
  float light = 0.35 + 0.55 * key + 0.2 * max(facing.z, 0.0);
  vec3 base = mix(vec3(0.74, 0.76, 0.8), texture(picture, pictureUv).rgb, pictureShare);
  base *= mix(1.0, light, lightShare);
  if (hasEdges) {
    vec3 width = fwidth(corner);
    vec3 inside = smoothstep(0.2 * width, 1.2 * width, corner);
    float edge = 1.0 - min(min(inside.x, inside.y), inside.z);
    float finest = max(max(width.x, width.y), width.z);  // faces of a pixel or two are all edge: let them fade
    base = mix(base, vec3(0.04, 0.16, 0.4), edge * mix(1.0, 0.4, smoothstep(0.1, 0.5, finest)));
  }
  colour = vec4(base, 1.0);
}`;

// picture: which texture; light: how much shading (photographs already hold the light of the scene)
const MODES = {
  texture: { picture: "texture", pictureShare: 1, light: 0.25, edges: false },
  shape: { picture: "texture", pictureShare: 0, light: 1, edges: false },
  wireframe: { picture: "texture", pictureShare: 0, light: 0.8, edges: true },
  coverage: { picture: "coverage", pictureShare: 1, light: 0.45, edges: false },
  error: { picture: "error", pictureShare: 1, light: 0.3, edges: false },
};
const FIELD_OF_VIEW_RAD = 0.6;
const START = { yaw: 0.6, pitch: 0.35, distance: 3.1, panX: 0, panY: 0 };

const multiply = (a, b) =>
  Float32Array.from({ length: 16 }, (_, i) => {
    const row = i % 4, column = i - row;
    return a[row] * b[column] + a[row + 4] * b[column + 1] + a[row + 8] * b[column + 2] + a[row + 12] * b[column + 3];
  });

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;

function expand(values, indices, size) {
  const expanded = new Float32Array(indices.length * size);
  indices.forEach((vertex, place) => {
    for (let k = 0; k < size; k++) expanded[place * size + k] = values[vertex * size + k];
  });
  return expanded;
}

function makeProgram(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

function loadPicture(gl, address, isSmooth, whenReady) {
  const texture = gl.createTexture();
  const image = new Image();
  image.onload = () => {
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, isSmooth ? gl.LINEAR : gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, isSmooth ? gl.LINEAR_MIPMAP_LINEAR : gl.NEAREST);
    if (isSmooth) gl.generateMipmap(gl.TEXTURE_2D);
    whenReady();
  };
  image.src = address;
  return texture;
}

function loadMesh(gl, data) {
  const indices = new Uint32Array(bytesOf(data.indices));
  const positions = new Float32Array(bytesOf(data.positions));
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  positions.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3], value);
    high[i % 3] = Math.max(high[i % 3], value);
  });
  gl.bindVertexArray(gl.createVertexArray());
  const attributes = [[positions, 3], [new Float32Array(bytesOf(data.normals)), 3], [new Float32Array(bytesOf(data.uv)), 2]];
  attributes.forEach(([values, size], location) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, expand(values, indices, size), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, gl.FLOAT, false, 0, 0);
  });
  const radius = Math.hypot(...high.map((value, axis) => value - low[axis])) / 2 || 1;
  return { count: indices.length, centre: high.map((value, axis) => (value + low[axis]) / 2), scale: 1 / radius };
}

function startViewer(root) {
  const canvas = root.querySelector("canvas");
  const data = JSON.parse(document.getElementById(root.dataset.mesh).textContent);
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("WebGL 2 is not available");
  const program = makeProgram(gl);
  const mesh = loadMesh(gl, data);
  const place = (name) => gl.getUniformLocation(program, name);
  const uniforms = Object.fromEntries(
    ["clipFromModel", "viewFromModel", "pictureShare", "lightShare", "hasEdges"].map((name) => [name, place(name)]));
  const view = { ...START };
  let mode = MODES.texture, isWaiting = false;

  function draw() {
    isWaiting = false;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const cy = Math.cos(view.yaw), sy = Math.sin(view.yaw), cp = Math.cos(view.pitch), sp = Math.sin(view.pitch);
    const s = mesh.scale, [x, y, z] = mesh.centre.map((value) => -value * s);
    const rotation = [cy, sp * sy, cp * sy, 0, 0, cp, -sp, 0, -sy, sp * cy, cp * cy, 0, view.panX, view.panY, -view.distance, 1];
    const viewFromModel = multiply(rotation, [s, 0, 0, 0, 0, s, 0, 0, 0, 0, s, 0, x, y, z, 1]);
    const focal = 1 / Math.tan(FIELD_OF_VIEW_RAD / 2) * Math.min(1, width / height);
    const near = Math.max(0.01, view.distance - 1.5), far = view.distance + 1.5;
    const projection = [focal * height / width, 0, 0, 0, 0, focal, 0, 0, 0, 0, (far + near) / (near - far), -1,
      0, 0, 2 * far * near / (near - far), 0];
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.viewFromModel, false, viewFromModel);
    gl.uniformMatrix4fv(uniforms.clipFromModel, false, multiply(projection, viewFromModel));
    gl.uniform1f(uniforms.pictureShare, mode.pictureShare);
    gl.uniform1f(uniforms.lightShare, mode.light);
    gl.uniform1i(uniforms.hasEdges, mode.edges ? 1 : 0);
    gl.bindTexture(gl.TEXTURE_2D, pictures[mode.picture]);
    gl.drawArrays(gl.TRIANGLES, 0, mesh.count);
  }
  function redraw() {
    if (!isWaiting) requestAnimationFrame(draw);
    isWaiting = true;
  }
  const pictures = Object.fromEntries(Object.entries(data.pictures).map(([name, address]) =>
    [name, loadPicture(gl, address, name !== "coverage", redraw)]));

  function turn(yaw, pitch) {
    view.yaw += yaw;
    view.pitch = Math.max(-1.55, Math.min(1.55, view.pitch + pitch));
    redraw();
  }
  function zoom(factor) {
    view.distance = Math.max(0.6, Math.min(20, view.distance * factor));
    redraw();
  }
  function pan(x, y) {
    const step = 2 * Math.tan(FIELD_OF_VIEW_RAD / 2) * view.distance / canvas.clientHeight;
    Object.assign(view, { panX: view.panX + x * step, panY: view.panY - y * step });
    redraw();
  }
  const actions = {
    left: () => turn(-0.26, 0), right: () => turn(0.26, 0), up: () => turn(0, 0.26), down: () => turn(0, -0.26),
    closer: () => zoom(0.8), farther: () => zoom(1.25), reset: () => { Object.assign(view, START); redraw(); },
  };
  const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "+": "closer", "=": "closer",
    "-": "farther", 0: "reset", Home: "reset" };
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : actions[keys[event.key]];
    if (!action) return;
    event.preventDefault();
    action();
  });
  root.querySelectorAll("[data-action]").forEach((button) =>
    button.addEventListener("click", () => actions[button.dataset.action]()));
  root.querySelectorAll("input[type=radio]").forEach((input) =>
    input.addEventListener("change", () => {
      mode = MODES[input.value];
      root.querySelectorAll("[data-legend]").forEach((legend) => { legend.hidden = legend.dataset.legend !== input.value; });
      redraw();
    }));

  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const after = [event.clientX, event.clientY], dx = after[0] - before[0], dy = after[1] - before[1];
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, after);
    if (other) {
      const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(length(before) / Math.max(1, length(after)));
      pan(dx / 2, dy / 2);
    } else if (event.buttons & 6 || event.shiftKey) pan(dx, dy);
    else turn(dx * 0.008, dy * 0.008);
  });
  ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, (event) => pointers.delete(event.pointerId)));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", actions.reset);
  // without focus the wheel scrolls the page past the canvas
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
  }, { passive: false });
  new ResizeObserver(redraw).observe(canvas);
}

document.querySelectorAll(".viewer").forEach((root) => {
  try {
    startViewer(root);
  } catch (error) {
    root.querySelector(".stage").hidden = true;
    root.querySelector(".no-3d").hidden = false;
  }
});
