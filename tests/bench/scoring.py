"""How far a reconstructed mesh is from the truth: distances to an exact solid or mesh, and held-out pictures."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import trimesh
from scipy.spatial import cKDTree

from recon import frames
from recon.cameras.rig_state import align_rigid
from recon.quality.comparison import picture_scores
from recon.quality.rendering import photograph, surface_on
from recon.quality.topology import check_mesh
from recon.raster import Rasterizer
from recon.scene import TexturedMesh, TriangleMesh, View

Array = npt.NDArray[np.float64]

SAMPLE_COUNT = 200_000
UNDECIDED = 1e-3
"""Motions that distances see less of than this share of what they see of the clearest one."""
NEAREST_SAMPLES = 8
"""Exact distances are computed to the faces of this many nearest samples."""


@dataclass(frozen=True)
class Truth:
    """What a result is compared with.

    Attributes:
        offsets: (n, 3) world points to their signed distances from the true surface, metres, and its normals there.
        samples_world: Points on the true surface, evenly by area.
        seen_mask: Which of them an input camera sees.
        diagonal_m: Of the true bounding box.
        held_out: Views that the reconstruction never saw.
        world_from_camera: Where the photographs were taken from.
    """

    offsets: Callable[[Array], tuple[Array, Array]]
    samples_world: Array
    seen_mask: npt.NDArray[np.bool_]
    diagonal_m: float
    held_out: tuple[View, ...]
    world_from_camera: torch.Tensor


@dataclass(frozen=True)
class Score:
    """Means over samples and held-out views; lengths in mm, Chamfer in percent of the diagonal."""

    chamfer_percent: float
    accuracy_mm: float
    seen_mm: float
    unseen_mm: float
    psnr_db: float
    ssim: float
    is_watertight: bool
    face_count: int


def score(
    textured: TexturedMesh,
    truth: Truth,
    raster: Rasterizer,
    device: torch.device,
    world_from_camera: torch.Tensor | None = None,
) -> Score:
    """Compare a result with the truth; given the cameras that it found, first move it rigidly onto the truth."""
    if world_from_camera is not None:
        moved = moved_with_cameras(textured.mesh, world_from_camera, truth)
        textured = replace(textured, mesh=aligned(moved, truth))
    samples = sample_mesh(textured.mesh, SAMPLE_COUNT)
    accuracy_m = np.abs(truth.offsets(samples)[0])
    completeness_m = MeshDistance(textured.mesh)(truth.samples_world)
    pictures = _held_out_scores(textured, truth.held_out, raster, device)
    seen = truth.seen_mask
    return Score(
        chamfer_percent=float(accuracy_m.mean() + completeness_m.mean()) / 2 / truth.diagonal_m * 100,
        accuracy_mm=1000 * float(accuracy_m.mean()),
        seen_mm=1000 * float(completeness_m[seen].mean()) if seen.any() else float("nan"),
        unseen_mm=1000 * float(completeness_m[~seen].mean()) if (~seen).any() else float("nan"),
        psnr_db=pictures.get("psnr_db", float("nan")),
        ssim=pictures.get("ssim", float("nan")),
        is_watertight=check_mesh(textured.mesh, 0).is_watertight,
        face_count=int(textured.mesh.faces.shape[0]),
    )


def _held_out_scores(
    textured: TexturedMesh, views: tuple[View, ...], raster: Rasterizer, device: torch.device
) -> dict[str, float]:
    surface = surface_on(textured, device)
    scores = [picture_scores(photograph(surface, view.posed_camera, raster).cpu(), view) for view in views]
    return {name: float(np.mean([item[name] for item in scores])) for name in ("psnr_db", "ssim")} if scores else {}


def moved_with_cameras(mesh: TriangleMesh, world_from_camera: torch.Tensor, truth: Truth) -> TriangleMesh:
    """Move a mesh by the motion that brings its cameras to where they stood.

    It is what nobody can know when cameras are stated wrong, and says how a ball is turned, which its shape does not.
    """
    points = torch.from_numpy(truth.samples_world[:: max(1, len(truth.samples_world) // 1000)])
    seen = frames.transform_points(
        frames.invert_rigid(truth.world_from_camera), points.expand(len(world_from_camera), -1, 3)
    )
    placed = frames.transform_points(world_from_camera, seen)
    truth_from_found = align_rigid(placed.flatten(0, 1), points.repeat(len(world_from_camera), 1))
    moved = frames.transform_points(truth_from_found, mesh.positions_world.double().cpu())
    return TriangleMesh(moved.to(mesh.positions_world), mesh.faces)


def load_cameras(path: Path) -> torch.Tensor:
    """The (k, 4, 4) ``world_from_camera`` of a ``cameras.json``."""
    matrices = [frame["transform_matrix"] for frame in json.loads(path.read_text(encoding="utf-8"))["frames"]]
    return torch.tensor(matrices, dtype=torch.float64) @ frames.CAMERA_GL_FROM_CAMERA.double()


def aligned(mesh: TriangleMesh, truth: Truth, step_count: int = 20) -> TriangleMesh:
    """Move a mesh rigidly until the squared distances of its samples from the truth are least (Gauss-Newton).

    What the shape leaves undecided, such as a turn of a solid of revolution, stays as it is.
    """
    start = sample_mesh(mesh, SAMPLE_COUNT // 10)
    rotation, shift = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(step_count):
        points = start @ rotation.numpy().T + shift.numpy()
        distance_m, normals = truth.offsets(points)
        scale = 3 * np.median(np.abs(distance_m)) + 1e-9
        weight = np.exp(-((distance_m / scale) ** 2) / 2)[:, None]
        centred = points - points.mean(0)
        radius_m = np.sqrt((centred**2).sum(1).mean())
        rows = np.concatenate([np.cross(centred, normals) / radius_m, normals], 1)
        decided, motions = np.linalg.eigh(rows.T @ (weight * rows))
        motions, decided = (item[..., decided > UNDECIDED * decided[-1]] for item in (motions, decided))
        pull = motions.T @ (rows.T @ (weight[:, 0] * distance_m)) / decided
        step = torch.from_numpy(-(motions @ pull) / np.repeat([radius_m, 1.0], 3))
        turn = frames.rotation_from_vector(step[:3])
        centre = torch.from_numpy(points.mean(0))
        rotation, shift = turn @ rotation, turn @ (shift - centre) + centre + step[3:]
    moved = mesh.positions_world.double().cpu() @ rotation.T + shift
    return TriangleMesh(moved.to(mesh.positions_world), mesh.faces)


def sample_mesh(mesh: TriangleMesh, count: int, seed: int = 1) -> Array:
    """Points on a mesh, evenly by area."""
    return _sample_faces(_corners(mesh), count, seed)[0]


def _corners(mesh: TriangleMesh) -> Array:
    return mesh.positions_world.detach().cpu().double().numpy()[mesh.faces.cpu().numpy()]


def _sample_faces(corners: Array, count: int, seed: int) -> tuple[Array, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum()).clip(max=len(corners) - 1)
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)
    a, b, c = (corners[face, corner] for corner in range(3))
    return (1 - root) * a + root * (1 - v) * b + root * v * c, face


class MeshDistance:
    """Distance from points to a mesh: exact to the faces whose samples lie nearest."""

    def __init__(self, mesh: TriangleMesh, sample_count: int = 1_000_000) -> None:
        self._triangles = _corners(mesh)
        points, face = _sample_faces(self._triangles, sample_count, seed=2)
        centres = self._triangles.mean(1)
        self._face = np.concatenate([face, np.arange(len(centres))])
        self._tree = cKDTree(np.concatenate([points, centres]))

    def __call__(self, points_world: Array) -> Array:
        _, index = self._tree.query(points_world, k=NEAREST_SAMPLES, workers=-1)
        best = np.full(len(points_world), np.inf)
        for column in range(NEAREST_SAMPLES):
            nearest = trimesh.triangles.closest_point(self._triangles[self._face[index[:, column]]], points_world)
            best = np.minimum(best, np.linalg.norm(nearest - points_world, axis=1))
        return best


def load_result(obj_path: Path) -> TexturedMesh:
    """Read a ``mesh.obj`` as another program would: vertices are split at chart seams."""
    loaded = trimesh.load(obj_path, process=False, force="mesh")
    assert isinstance(loaded, trimesh.Trimesh)
    image = np.asarray(loaded.visual.material.image.convert("RGB"), np.float32) / 255
    faces = torch.from_numpy(np.asarray(loaded.faces, np.int64))
    positions = torch.from_numpy(np.asarray(loaded.vertices, np.float32))
    uv = torch.from_numpy(np.asarray(loaded.visual.uv, np.float32))
    coverage = torch.ones(image.shape[:2], dtype=torch.uint8)
    welded = _welded(TriangleMesh(positions, faces))
    return TexturedMesh(welded, uv, faces, torch.from_numpy(image), coverage)


def _welded(mesh: TriangleMesh) -> TriangleMesh:
    positions, inverse = torch.unique(mesh.positions_world, dim=0, return_inverse=True)
    return TriangleMesh(positions, inverse[mesh.faces])
