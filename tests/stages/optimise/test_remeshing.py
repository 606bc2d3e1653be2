"""More faces where the data need them."""

import torch

import geometry_scenes
import texture_scenes
from recon.optimise import Aims, optimise_mesh
from recon.optimise.loop import LEVELS
from recon.optimise.remeshing import add_faces
from recon.optimise.terms import depth_term
from recon.remesh import find_edges
from recon.scene import TriangleMesh
from recon.settings import OptimiseSettings

RASTER = texture_scenes.rasterizer()


def measured(name: str, mesh: TriangleMesh, target: int) -> TriangleMesh:
    observations = geometry_scenes.observed(name)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    depth = depth_term(mesh, fragments, observations, RASTER, 2 * observations.pixel_m)
    return add_faces(mesh, find_edges(mesh.faces), depth, observations, target)


def test_faces_go_where_the_surface_bends() -> None:
    """On a coarse cube four of five new vertices lie near its rounded edges, which are half of the surface."""
    coarse = geometry_scenes.built(geometry_scenes.observed("cube"), 400)
    count = len(coarse.faces)
    refined = measured("cube", coarse, count + 200)
    geometry_scenes.assert_closed_manifold(refined)
    assert count < len(refined.faces) <= count + 201
    assert torch.equal(refined.positions_world[: len(coarse.positions_world)], coarse.positions_world)
    new = refined.positions_world[len(coarse.positions_world) :]
    centre = torch.from_numpy(geometry_scenes.SOLIDS["cube"].centre_world).float()
    offsets = (new - centre).abs().sort(1).values
    half_m = (coarse.positions_world - centre).abs().max()
    assert (offsets[:, 1] > 0.7 * half_m).float().mean() > 0.75


def test_nothing_is_cut_finer_than_the_pixels() -> None:
    """Asked again and again for far more faces than there are pixels, it comes to an end."""
    mesh = geometry_scenes.built(geometry_scenes.observed("sphere"), 300, 48)
    counts = [len(mesh.faces)]
    while len(counts) < 30 and (len(counts) == 1 or counts[-1] > counts[-2]):
        mesh = measured("sphere", mesh, 10**6)
        counts.append(len(mesh.faces))
    assert counts[-1] == counts[-2]


def test_coarse_to_fine_fits_better_with_the_same_faces() -> None:
    """A toy of 4000 faces: started with 1000 and refined where needed, it is nearer to the truth, and closed."""
    observations = geometry_scenes.observed("toy", "orbit6")
    errors = []
    for start, face_count in ((4000, None), (1000, 4000)):
        first = geometry_scenes.built(observations, start, 64)
        refined = optimise_mesh(
            first,
            observations,
            OptimiseSettings(),
            RASTER,
            lambda share: None,
            Aims(face_count),
        )
        geometry_scenes.assert_closed_manifold(refined.mesh)
        assert len(first.faces) < 1.01 * start
        assert len(refined.mesh.faces) <= (len(first.faces) if face_count is None else face_count + 1)
        middles = TriangleMesh(refined.mesh.positions_world[refined.mesh.faces].mean(1), refined.mesh.faces[:1])
        errors.append(float(geometry_scenes.error_m("toy", middles).mean()))
        assert len(refined.history) > (LEVELS if face_count else 0)
    assert errors[1] < 0.9 * errors[0]
