"""The benchmark's own measures: distances, alignment and the files that it reads back."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import meshes
import scenes
from recon import frames
from recon.export import write_cameras_json, write_mesh_files
from recon.scene import TriangleMesh

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import scoring


def box_truth(half_m: float = 0.5) -> scoring.Truth:
    """The box of ``meshes.box_mesh`` as an exact solid."""

    def offsets(points: scoring.Array) -> tuple[scoring.Array, scoring.Array]:
        beyond = np.abs(points) - half_m
        axis = beyond.argmax(1)
        normals = np.zeros_like(points)
        normals[np.arange(len(points)), axis] = np.sign(points[np.arange(len(points)), axis])
        return beyond.max(1), normals

    samples = scoring.sample_mesh(meshes.box_mesh(half_m), 2000, seed=7)
    poses = frames.rigid_from_twist(torch.tensor([[0.0, 0, 0, 0, 0, -3], [0.0, 1.5, 0, 3, 0, 0]], dtype=torch.float64))
    return scoring.Truth(offsets, samples, np.ones(len(samples), bool), 2 * half_m * 3**0.5, (), poses)


def test_distances_from_a_box_are_exact() -> None:
    """Points off a side, an edge and a corner are as far away as geometry says."""
    distance = scoring.MeshDistance(meshes.box_mesh(), sample_count=20_000)
    points = np.array([[0.1, 0.2, 0.8], [0.6, 0.6, 0.0], [0.7, 0.7, 0.7], [0.5, 0.1, 0.1]])
    assert distance(points) == pytest.approx([0.3, 0.1 * 2**0.5, 0.2 * 3**0.5, 0.0], abs=1e-9)


def test_samples_lie_on_the_mesh_evenly() -> None:
    """Every side of a box gets a sixth of the samples, all on its plane."""
    points = scoring.sample_mesh(meshes.box_mesh(), 12_000)
    side = np.abs(points).argmax(1) * 2 + (np.take_along_axis(points, np.abs(points).argmax(1)[:, None], 1)[:, 0] > 0)
    assert np.abs(points).max(1) == pytest.approx(0.5)
    assert np.bincount(side) == pytest.approx(2000, rel=0.1)


def test_a_moved_box_is_brought_back() -> None:
    """A box turned by three degrees and shifted by a few centimetres is aligned to a ten-thousandth of its size."""
    turn = frames.rotation_from_vector(torch.tensor([0.03, -0.02, 0.04], dtype=torch.float64))
    moved = meshes.box_mesh().positions_world.double() @ turn.T + torch.tensor([0.03, 0.01, -0.02]).double()
    found = scoring.aligned(TriangleMesh(moved.float(), meshes.box_mesh().faces), box_truth())
    assert torch.allclose(found.positions_world, meshes.box_mesh().positions_world, atol=1e-4)


def test_roughness_turns_no_ball() -> None:
    """A rough ball that lies aside comes back without being turned: its surface does not say how it lies."""
    exact = trimesh.creation.icosphere(3, radius=0.5)
    rough = np.asarray(exact.vertices) * np.random.default_rng(0).normal(1, 0.01, (len(exact.vertices), 1))
    mesh = TriangleMesh(
        torch.from_numpy(rough + np.array([0.02, 0, 0])), torch.from_numpy(np.asarray(exact.faces, np.int64))
    )

    def offsets(points: scoring.Array) -> tuple[scoring.Array, scoring.Array]:
        distance = np.linalg.norm(points, axis=1)
        return distance - 0.5, points / distance[:, None]

    found = scoring.aligned(mesh, replace(box_truth(), offsets=offsets)).positions_world
    assert float((found - torch.from_numpy(rough)).norm(dim=1).max()) < 2e-3


def test_a_box_comes_back_with_its_cameras() -> None:
    """A box turned by a quarter, which its shape does not tell, is brought back by the cameras that turned with it."""
    quarter = frames.rigid_from_twist(torch.tensor([0, 0, np.pi / 2, 0.1, 0, 0], dtype=torch.float64))
    box, truth = meshes.box_mesh(), box_truth()
    turned = TriangleMesh(frames.transform_points(quarter, box.positions_world.double()).float(), box.faces)
    found = scoring.moved_with_cameras(turned, quarter @ truth.world_from_camera, truth)
    assert torch.allclose(found.positions_world, box.positions_world, atol=1e-5)


def test_cameras_are_read_as_written(tmp_path: Path) -> None:
    """Poses come back from ``cameras.json`` in our own axes."""
    scene = scenes.cube()
    capture = scenes.make_capture(scene, scenes.orbit6_cameras(scene, 16), supersample=1)
    write_cameras_json(capture, tmp_path / "cameras.json")
    poses = torch.stack([view.posed_camera.world_from_camera for view in capture.views])
    assert torch.allclose(scoring.load_cameras(tmp_path / "cameras.json"), poses)


def test_results_are_read_as_written(tmp_path: Path) -> None:
    """A textured box comes back from its files with the same triangles, watertight, and the same colours."""
    box = meshes.textured_box()
    write_mesh_files(box, tmp_path, "z", ("obj",))
    found = scoring.load_result(tmp_path / "mesh.obj")
    before = box.mesh.positions_world[box.mesh.faces]
    assert torch.allclose(found.mesh.positions_world[found.mesh.faces], before, atol=1e-6)
    assert torch.allclose(found.uv[found.face_uv], box.uv[box.face_uv], atol=1e-6)
    assert torch.allclose(found.texture_srgb, box.texture_srgb, atol=1 / 255)
