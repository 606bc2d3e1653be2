// The viewer of the report page: one mesh, several colourings, moved by mouse, touch, keyboard or buttons.
// three.js draws and turns; this file chooses materials and lights, and answers keys and buttons.
// It draws only when something changed, and it asks the network for nothing.

import {
  AmbientLight, Box3, BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, LineBasicMaterial, LineSegments,
  Mesh, MeshLambertMaterial, NearestFilter, PerspectiveCamera, Scene, Sphere, SRGBColorSpace, TextureLoader,
  WebGLRenderer, WireframeGeometry,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

// lamp: share of the light that comes from one side; photographs already hold the light of their scene
const MODES = {
  texture: { picture: "texture", lamp: 0.25 },
  shape: { lamp: 0.85 },
  wireframe: { lamp: 0.55, hasEdges: true },
  coverage: { picture: "coverage", lamp: 0.4 },
  error: { picture: "error", lamp: 0.25 },
};
const CLAY = 0xd2cec6, EDGE = 0x16294f;
const FIELD_OF_VIEW_DEG = 34;
const START = { yaw: 0.6, pitch: 0.35, distance: 3.1 };
const STEP_RAD = 0.26, ZOOM_STEP = 0.8;
const DENSE_EDGE_PX = 14; // edges of faces smaller than this fade, or a fine mesh would be all ink
const FAINTEST_EDGE = 0.12;

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;

function buildGeometry(data) {
  const geometry = new BufferGeometry();
  const attribute = (name, size) => new BufferAttribute(new Float32Array(bytesOf(data[name])), size);
  geometry.setAttribute("position", attribute("positions", 3));
  geometry.setAttribute("normal", attribute("normals", 3));
  geometry.setAttribute("uv", attribute("uv", 2));
  geometry.setIndex(new BufferAttribute(new Uint32Array(bytesOf(data.indices)), 1));
  // a unit sphere around the origin, whatever the object's size
  const sphere = new Box3().setFromBufferAttribute(geometry.getAttribute("position")).getBoundingSphere(new Sphere());
  geometry.translate(-sphere.center.x, -sphere.center.y, -sphere.center.z);
  geometry.scale(1 / (sphere.radius || 1), 1 / (sphere.radius || 1), 1 / (sphere.radius || 1));
  return geometry;
}

function meanEdge(geometry) {
  const position = geometry.getAttribute("position"), index = geometry.getIndex();
  let total = 0, count = 0;
  for (let i = 0; i + 1 < index.count; i += 3 * Math.ceil(index.count / 3000)) {
    const a = index.getX(i), b = index.getX(i + 1);
    total += Math.hypot(position.getX(a) - position.getX(b), position.getY(a) - position.getY(b), position.getZ(a) - position.getZ(b));
    count += 1;
  }
  return total / Math.max(1, count);
}

function loadMaterials(pictures, redraw) {
  const clay = new MeshLambertMaterial({ color: CLAY, side: DoubleSide, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
  const materials = { clay };
  for (const [name, address] of Object.entries(pictures)) {
    const map = new TextureLoader().load(address, redraw);
    map.colorSpace = SRGBColorSpace;
    map.flipY = false;
    map.anisotropy = 4;
    if (name === "coverage") Object.assign(map, { magFilter: NearestFilter, minFilter: NearestFilter, generateMipmaps: false });
    materials[name] = new MeshLambertMaterial({ map, side: DoubleSide });
  }
  return materials;
}

function startViewer(root) {
  const canvas = root.querySelector("canvas");
  const data = JSON.parse(document.getElementById(root.dataset.mesh).textContent);
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  const scene = new Scene(), camera = new PerspectiveCamera(FIELD_OF_VIEW_DEG, 1, 0.05, 40);
  const ambient = new AmbientLight(), lamp = new DirectionalLight();
  lamp.position.set(-0.5, 0.7, 1);
  camera.add(lamp, lamp.target); // over the onlooker's shoulder, wherever he stands
  lamp.target.position.set(0, 0, -1);
  scene.add(camera, ambient);

  const geometry = buildGeometry(data);
  const materials = loadMaterials(data.pictures, redraw);
  const mesh = new Mesh(geometry, materials.clay);
  let edges = null;
  const edgeLength = meanEdge(geometry);
  scene.add(mesh);

  const controls = new OrbitControls(camera, canvas);
  Object.assign(controls, { minDistance: 1.05, maxDistance: 20, enableZoom: false });
  controls.addEventListener("change", redraw);

  let isWaiting = false;
  function redraw() {
    if (!isWaiting) requestAnimationFrame(draw);
    isWaiting = true;
  }
  function draw() {
    isWaiting = false;
    const width = Math.max(1, canvas.clientWidth), height = Math.max(1, canvas.clientHeight);
    renderer.setPixelRatio(window.devicePixelRatio || 1);
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    // the object fits also into an upright canvas
    camera.zoom = Math.min(1, camera.aspect);
    camera.updateProjectionMatrix();
    if (edges && edges.visible) {
      const slope = Math.tan((FIELD_OF_VIEW_DEG * Math.PI) / 360) / camera.zoom;
      const edgePx = (edgeLength * height) / (2 * slope * controls.getDistance());
      edges.material.opacity = Math.min(0.9, Math.max(FAINTEST_EDGE, edgePx / DENSE_EDGE_PX));
    }
    renderer.render(scene, camera);
  }

  function show(name) {
    const mode = MODES[name];
    mesh.material = materials[mode.picture] || materials.clay;
    if (mode.hasEdges && !edges) {
      edges = new LineSegments(new WireframeGeometry(geometry), new LineBasicMaterial({ color: EDGE, transparent: true }));
      scene.add(edges);
    }
    if (edges) edges.visible = Boolean(mode.hasEdges);
    ambient.intensity = Math.PI * (1 - mode.lamp);
    lamp.intensity = Math.PI * mode.lamp * 1.25; // the lamp stands aside and never hits the whole surface fully
    root.querySelectorAll("[data-legend]").forEach((legend) => { legend.hidden = legend.dataset.legend !== name; });
    redraw();
  }
  function reset() {
    const level = Math.cos(START.pitch) * START.distance;
    controls.target.set(0, 0, 0);
    camera.position.set(level * Math.sin(START.yaw), START.distance * Math.sin(START.pitch), level * Math.cos(START.yaw));
    controls.update();
    redraw();
  }
  const actions = {
    left: () => controls.rotateLeft(STEP_RAD), right: () => controls.rotateLeft(-STEP_RAD),
    up: () => controls.rotateUp(-STEP_RAD), down: () => controls.rotateUp(STEP_RAD),
    closer: () => controls.dollyIn(ZOOM_STEP), farther: () => controls.dollyOut(ZOOM_STEP),
    reset,
  };
  const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "+": "closer", "=": "closer",
    "-": "farther", 0: "reset", Home: "reset" };
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : actions[keys[event.key]];
    if (!action) return;
    event.preventDefault();
    action();
  });
  // without focus the wheel scrolls the page past the canvas
  canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
  canvas.addEventListener("focus", () => { controls.enableZoom = true; });
  canvas.addEventListener("blur", () => { controls.enableZoom = false; });
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("webglcontextrestored", redraw);
  root.querySelectorAll("[data-action]").forEach((button) =>
    button.addEventListener("click", () => actions[button.dataset.action]()));
  root.querySelectorAll("input[type=radio]").forEach((input) => input.addEventListener("change", () => show(input.value)));
  new ResizeObserver(redraw).observe(canvas);
  reset();
  // browsers keep the choice of a radio button over a reload
  show(root.querySelector("input[type=radio]:checked")?.value || "texture");
}

document.querySelectorAll(".viewer").forEach((root) => {
  try {
    startViewer(root);
  } catch (error) {
    root.querySelector(".stage").hidden = true;
    root.querySelector(".no-3d").hidden = false;
  }
});
