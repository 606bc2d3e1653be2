"""What photographs add to noisy depth."""

from dataclasses import replace

import torch

import geometry_scenes
import scenes
import texture_scenes
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.observations import observe
from recon.optimise import Aims, optimise_mesh, photographs_of
from recon.optimise.photographs import LARGEST_GAIN, colour_term
from recon.scene import Capture, TriangleMesh
from recon.settings import OptimiseSettings

RASTER = texture_scenes.rasterizer()
NAME, SIZE_PX = "toy", 128
CAMERAS = scenes.orbit6_cameras(geometry_scenes.SOLIDS[NAME], SIZE_PX)
CPU = torch.device("cpu")


def noisy_capture() -> Capture:
    faults = scenes.Faults(has_sensor_noise=True)
    return scenes.make_capture(geometry_scenes.SOLIDS[NAME], CAMERAS, faults)


def with_gains(capture: Capture, gains: tuple[float, ...]) -> Capture:
    """The photographs as cameras with other exposures take them."""
    views = tuple(
        replace(view, image_srgb=srgb_from_linear((gain * linear_from_srgb(view.image_srgb)).clamp(0, 1)))
        for view, gain in zip(capture.views, gains, strict=True)
    )
    return replace(capture, views=views)


def true_ball() -> TriangleMesh:
    mesh, centre = texture_scenes.ball(4), torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
    radius_m = geometry_scenes.SOLIDS["sphere"].diagonal_m / 2 / 3**0.5
    directions = torch.nn.functional.normalize(mesh.positions_world - mesh.positions_world.mean(0), dim=1)
    return TriangleMesh(centre + radius_m * directions, mesh.faces)


def test_exposures_are_found_beside_the_shape() -> None:
    """Photographs darkened to 0.7 and brightened to 1.3 of their light: the gains on sRGB undo nine tenths of it."""
    gains = (1.0, 0.7, 1.3, 1.0, 0.7, 1.3)
    capture = with_gains(geometry_scenes.photographed("sphere", "orbit6", 96), gains)
    observations, mesh = observe(capture, CPU), true_ball()
    photographs = photographs_of(capture, observations)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    terms = []
    for _ in range(8):
        terms.append(colour_term(mesh, fragments, observations, photographs, RASTER))
        photographs = photographs.adjusted(terms[-1])
    assert terms[-1].difference < 0.35 * terms[0].difference
    found = photographs.gains.mean(1).log()
    wanted = -torch.tensor(gains).log() / 2.2
    assert torch.allclose(found, wanted - wanted.mean(), atol=0.03)


def test_gains_stay_within_reason() -> None:
    """A black photograph does not make the others vanish: gains stay within their bound of one another."""
    capture = with_gains(geometry_scenes.photographed("sphere", "orbit6", 96), (0.0, 1, 1, 1, 1, 1))
    observations, mesh = observe(capture, CPU), true_ball()
    photographs = photographs_of(capture, observations)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    for _ in range(5):
        photographs = photographs.adjusted(colour_term(mesh, fragments, observations, photographs, RASTER))
    assert photographs.gains.isfinite().all()
    assert photographs.gains.max() < LARGEST_GAIN**2


def test_photographs_bring_a_noisy_solid_nearer_to_the_truth() -> None:
    """Under sensor noise, at 128 pixels, a twentieth of the error at least goes (at 512 a quarter to a third)."""
    capture = noisy_capture()
    observations = observe(capture, CPU)
    assert observations.has_noise
    start = geometry_scenes.built(observations, 6000)
    errors = []
    for photographs in (None, photographs_of(capture, observations)):
        refined = optimise_mesh(
            start, observations, OptimiseSettings(), RASTER, lambda share: None, Aims(photographs=photographs)
        )
        errors.append(float(geometry_scenes.error_m(NAME, refined.mesh).mean()))
    assert errors[1] < 0.95 * errors[0]


def test_photographs_of_another_size_are_brought_to_the_depths_pixels() -> None:
    """Colour twice as fine as the depth: the layers have the depth's size and nearly its own colours."""
    capture = geometry_scenes.photographed("sphere", "orbit6", 96)
    finer = replace(
        capture,
        views=tuple(
            replace(
                view,
                image_srgb=view.image_srgb.repeat_interleave(2, 0).repeat_interleave(2, 1),
                foreground_alpha=view.foreground_alpha.repeat_interleave(2, 0).repeat_interleave(2, 1),
            )
            for view in capture.views
        ),
    )
    observations = observe(capture, CPU)
    same, resampled = photographs_of(capture, observations), photographs_of(finer, observations)
    assert torch.allclose(same.layers, resampled.layers, atol=1e-5)
