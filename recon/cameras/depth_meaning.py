"""What the depth codes mean, tested against the alternatives once the cameras are known."""

from dataclasses import replace

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.adjust import FOCAL, OFFSET, SCALE, free_unknowns, settle
from recon.cameras.agreement import Views, make_views
from recon.cameras.normal_equations import Weighting, measure_cost
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import Samples, Surface
from recon.scene import Inference

_WIDTHS = (0.004, 0.003, 0.002, 0.002, 0.002, 0.002)
_WEIGHTING = Weighting(_WIDTHS[-1], 1.0)


def judge_depth_meaning(state: RigState, views: Views) -> Inference:
    """Compare planar depth with distance along the ray, inverse depth and an additive offset.

    Each alternative is refitted (scales and focal length; the offsets of all views too) from the planar solution, so
    its cost is the least that it reaches near these cameras.
    """
    basis = free_unknowns(state.count, SCALE, FOCAL)
    planar = measure_cost(state, views, _WEIGHTING)
    shifted = settle(state, views, _WEIGHTING, free_unknowns(state.count, SCALE, OFFSET), _WIDTHS)
    costs = {"distance along the ray": _cost_of(_as_distance(views, state), state, basis)}
    offset = float((shifted.offsets.abs() * shifted.scales).max())
    text = "; ".join(f"{name}: cost {cost:.4f}" for name, cost in costs.items())
    evidence = (
        f"planar: cost {planar:.4f}; {text}; free offsets: cost {measure_cost(shifted, views, _WEIGHTING):.4f}, "
        f"largest {offset:.4f} of the camera distance"
    )
    return Inference("depth meaning", "along the optical axis, proportional to the code", evidence)


def _cost_of(views: Views, state: RigState, basis: Float[Tensor, "u p"]) -> float:
    return measure_cost(settle(state, views, _WEIGHTING, basis, _WIDTHS), views, _WEIGHTING)


def _as_distance(views: Views, state: RigState) -> Views:
    """Read the codes as distances along the ray: planar depth is the code times the cosine to the axis."""
    surfaces, samples = [], views.samples
    for row, surface in enumerate(views.surfaces):
        centres_px = frames.pixel_centres_px(surface.height_px, surface.width_px, device=samples.depth.device)
        cosine, rise = _cosines(centres_px.double(), state, row)
        surfaces.append(_scaled(surface, cosine, rise))
    cosines, rises = zip(*(_cosines(samples.pixels_px[row], state, row) for row in range(state.count)), strict=True)
    cosine, rise = torch.stack(cosines), torch.stack(rises)
    slopes = samples.slopes * cosine[..., None] + samples.depth[..., None] * rise
    return make_views(surfaces, Samples(samples.pixels_px, samples.depth * cosine, slopes))


def _cosines(
    pixels_px: Float[Tensor, "*grid 2"], state: RigState, row: int
) -> tuple[Float[Tensor, "*grid"], Float[Tensor, "*grid 2"]]:
    """Cosine between a pixel's ray and the optical axis, and its change per pixel."""
    slopes = (pixels_px - state.principal_px[row]) / state.focal_px[row]
    cosine = (1 + (slopes**2).sum(-1)).rsqrt()
    return cosine, -(cosine**3)[..., None] * slopes / state.focal_px[row]


def _scaled(surface: Surface, cosine: Float[Tensor, "h w"], rise: Float[Tensor, "h w 2"]) -> Surface:
    return replace(
        surface,
        depth=surface.depth * cosine,
        slope_x=surface.slope_x * cosine + surface.depth * rise[..., 0],
        slope_y=surface.slope_y * cosine + surface.depth * rise[..., 1],
    )
