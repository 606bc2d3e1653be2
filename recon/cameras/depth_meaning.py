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

PLANAR = "along the optical axis, proportional to the code"
RAY, INVERSE = "distance along the ray", "inverse depth"
_WIDTHS = (0.004, 0.003, 0.002, 0.002, 0.002, 0.002)
_WEIGHTING = Weighting(_WIDTHS[-1], 1.0)


def judge_depth_meaning(state: RigState, views: Views) -> Inference:
    """Report what the alternatives to depth along the axis cost."""
    costs = reading_costs(state, views)
    planar, others = costs.pop(PLANAR), min(costs.values())
    affine = free_unknowns(state.count, SCALE, OFFSET)
    shifted = settle(state, views, _WEIGHTING, affine, _WIDTHS)
    offset = float((shifted.offsets.abs() * shifted.scales).max())
    text = "; ".join(f"{name}: cost {cost:.4f}" for name, cost in costs.items())
    evidence = (
        f"planar: cost {planar:.4f}; {text} ({others / max(planar, 1e-9):.2f} times as much or more); "
        f"free offsets: cost {measure_cost(shifted, views, _WEIGHTING):.4f}, "
        f"largest {offset:.4f} of the camera distance"
    )
    return Inference("depth meaning", PLANAR, evidence)


def reading_costs(state: RigState, views: Views) -> dict[str, float]:
    """How badly the views agree when their codes are depth, distance along the ray, or inverse depth.

    Each alternative is refitted (scales and focal length; for inverse depth scales and offsets) from the planar
    solution, so its cost is the least that it reaches near these cameras.
    """
    basis, affine = free_unknowns(state.count, SCALE, FOCAL), free_unknowns(state.count, SCALE, OFFSET)
    return {
        PLANAR: measure_cost(state, views, _WEIGHTING),
        RAY: _cost_of(_as_distance(views, state), state, basis),
        INVERSE: _cost_of(_as_inverse(views), state, affine),
    }


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


def _as_inverse(views: Views) -> Views:
    """Read the codes as an affine function of inverse depth: the one that agrees with the codes about their middle.

    Around the middle code m of a view, m^2 / (2 m - code) has the value and the slope of the code itself.
    """
    samples, middles = views.samples, views.samples.depth.median(1).values
    surfaces = []
    for surface, middle in zip(views.surfaces, middles, strict=True):
        depth, slope = _inverse(surface.depth, middle)
        surfaces.append(replace(surface, depth=depth, slope_x=slope * surface.slope_x, slope_y=slope * surface.slope_y))
    depth, slope = _inverse(samples.depth, middles[:, None])
    return make_views(surfaces, Samples(samples.pixels_px, depth, slope[..., None] * samples.slopes))


def _inverse(code: Float[Tensor, "*grid"], middle: Float[Tensor, "..."]) -> tuple[Tensor, Tensor]:
    """The depth and its slope by the code; codes beyond the horizon stay just short of it."""
    below = (2 * middle - code).clamp_min(0.1 * float(middle.min()))
    return middle**2 / below, (middle / below) ** 2


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
