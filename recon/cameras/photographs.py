"""Do the photographs show what the depths show?  Each photograph's outline against the outline of its depth.

Where they differ by a shift, a turn and a scale, the photograph was taken (or made) by a slightly different camera;
the similarity is kept with the view so that colours can be read from the right place.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.preparation import alpha_on_depth_grid
from recon.cameras.surfaces import signed_distance_px
from recon.scene import Capture, DepthMap, Inference, View

_GOOD_OVERLAP = 0.97
_MIN_GAIN = 0.005
_FOUND_OVERLAP = 0.85
_WHOLE_SCENE = 0.9
_STEPS = 12


@dataclass(frozen=True)
class OutlineFit:
    """How well a photograph's outline covers the outline of its depth, as intersection over union.

    Attributes:
        as_is, shifted, similar: Without correction, with the best shift, and with shift, turn and scale.
        photograph_from_depth: The similarity on the depth grid, in pixels (x, y).
        middle_px: Of the depth's outline.
    """

    as_is: float
    shifted: float
    similar: float
    photograph_from_depth: Float[Tensor, "2 3"]
    middle_px: Float[Tensor, " 2"]

    def text(self, photo_px_per_depth_px: float) -> str:
        """The similarity in words, in pixels of the photograph."""
        linear = self.photograph_from_depth[:, :2]
        shift_px = self.photograph_from_depth @ torch.cat([self.middle_px, self.middle_px.new_ones(1)]) - self.middle_px
        right_px, down_px = (shift_px * photo_px_per_depth_px).tolist()
        turn_deg = float(torch.rad2deg(torch.atan2(linear[1, 0], linear[0, 0])))
        grow = float(linear[:, 0].norm()) - 1
        return f"{right_px:+.1f} px right, {down_px:+.1f} px down, {grow:+.1%} in size, turned {turn_deg:+.1f} degrees"


def compare_photographs(capture: Capture) -> Capture:
    """Report and keep what tells the photographs from the depths, where they disagree.

    Only for views whose depth stops at the object and that have an outline of the photograph's own.  Where none
    disagrees, the photographs' own outlines are dropped: the depths' are as good.
    """
    fits = [_fit_view(view) for view in capture.views]
    poor = [
        view.name
        for view, fit in zip(capture.views, fits, strict=True)
        if fit is not None and fit.as_is < _GOOD_OVERLAP
    ]
    if not poor:
        if all(view.photo_alpha is None for view in capture.views):
            return capture
        return replace(capture, views=tuple(replace(view, photo_alpha=None) for view in capture.views))
    views = tuple(_corrected(view, fit) for view, fit in zip(capture.views, fits, strict=True))
    evidence = "; ".join(
        f"{view.name} {fit.as_is:.3f} as is, {fit.shifted:.3f} shifted, {fit.similar:.3f} similar "
        f"({fit.text(view.width_px / view.depth.depth_z.shape[1])})"
        for view, fit in zip(capture.views, fits, strict=True)
        if fit is not None and view.depth is not None
    )
    finding = Inference("photographs against depth", "disagree", f"overlap of outlines (IoU): {evidence}")
    warning = (
        f"The photographs do not show quite what the depth images show ({', '.join(poor)}: outlines overlap by less "
        f"than {_GOOD_OVERLAP:.0%}); no rigid textured mesh can match both."
    )
    return replace(capture, views=views, photographs_disagree=True).noting(finding, warnings=(warning,))


def _corrected(view: View, fit: OutlineFit | None) -> View:
    """The view with the similarity of its photograph; without the photograph's outline where it was not credible."""
    if fit is None:
        return replace(view, photo_alpha=None)
    is_better = fit.as_is < _GOOD_OVERLAP and fit.similar > fit.as_is + _MIN_GAIN
    return replace(view, image_from_camera=_on_photograph(fit, view)) if is_better else view


def _fit_view(view: View) -> OutlineFit | None:
    depth = view.depth
    if depth is None or not 0 < float(depth.valid_mask.float().mean()) < _WHOLE_SCENE:
        return None
    if view.photo_alpha is None and view.mask_source not in {"alpha", "mask", "plain"}:
        return None
    fit = fit_outline(alpha_on_depth_grid(_with_own_outline(view), depth), depth)
    # White on white: an outline this wrong was not found, so it says nothing about the photograph.
    return None if fit.similar < _FOUND_OVERLAP else fit


def _with_own_outline(view: View) -> View:
    return view if view.photo_alpha is None else replace(view, foreground_alpha=view.photo_alpha)


def fit_outline(alpha: Float[Tensor, "h w"], depth: DepthMap) -> OutlineFit:
    """Align a photograph's coverage with a depth map's outline.

    Iteratively reweighted Gauss-Newton on the signed distance of the depth's contour from the photograph's contour.
    """
    outline = depth.valid_mask.double()
    distance = signed_distance_px(alpha)
    near_contour = torch.nonzero(signed_distance_px(outline).abs() < 1)
    contour_px = near_contour.flip(1).double() + 0.5
    middle_px = contour_px.mean(0)
    shift = _align(contour_px, middle_px, distance, 2)
    similarity = _align(contour_px, middle_px, distance, 4)
    as_is, shifted, similar = (_overlap(alpha, outline, item) for item in (_identity(), shift, similarity))
    return OutlineFit(as_is, shifted, similar, similarity, middle_px)


def _align(
    contour_px: Float[Tensor, "n 2"], middle_px: Float[Tensor, " 2"], distance: Float[Tensor, "h w"], count: int
) -> Float[Tensor, "2 3"]:
    """The shift (count 2) or similarity (count 4) that brings contour points to distance zero."""
    rise_y, rise_x = torch.gradient(distance)
    maps = torch.stack([distance, rise_x, rise_y])
    relative = contour_px - middle_px
    turned = torch.stack([-relative[:, 1], relative[:, 0]], 1)
    unknowns = torch.zeros(4, dtype=torch.float64)
    for step in range(_STEPS):
        moved_px = contour_px + unknowns[:2] + unknowns[2] * relative + unknowns[3] * turned
        residual, slope_x, slope_y = _look_up(maps, moved_px)
        slope = torch.stack([slope_x, slope_y], 1)
        jacobian = torch.cat([slope, (slope * relative).sum(1, True), (slope * turned).sum(1, True)], 1)[:, :count]
        width_px = max(3.0, 30.0 * 0.7**step)
        weighted = (jacobian / (1 + (residual / width_px) ** 2)[:, None] ** 2).T
        ridge = 1e-9 * torch.eye(count, dtype=torch.float64)
        unknowns[:count] -= torch.linalg.solve(weighted @ jacobian + ridge, weighted @ residual)
    grow, turn = 1 + unknowns[2], unknowns[3]
    linear = torch.stack([torch.stack([grow, -turn]), torch.stack([turn, grow])])
    return torch.cat([linear, (middle_px + unknowns[:2] - linear @ middle_px)[:, None]], 1)


def _identity() -> Float[Tensor, "2 3"]:
    return torch.eye(2, 3, dtype=torch.float64)


def _overlap(alpha: Float[Tensor, "h w"], outline: Float[Tensor, "h w"], transform: Float[Tensor, "2 3"]) -> float:
    """Intersection over union of the outline and the photograph's coverage read through the transform."""
    centres_px = frames.pixel_centres_px(*outline.shape, dtype=torch.float64).view(-1, 2)
    moved_px = centres_px @ transform[:, :2].T + transform[:, 2]
    photograph = _look_up(alpha.double()[None], moved_px)[0].view(outline.shape) >= 0.5
    drawn = outline >= 0.5
    return float((photograph & drawn).sum() / (photograph | drawn).sum().clamp_min(1))


def _look_up(maps: Float[Tensor, "c h w"], pixels_px: Float[Tensor, "n 2"]) -> Float[Tensor, "c n"]:
    size_px = torch.tensor([maps.shape[2], maps.shape[1]], dtype=maps.dtype)
    grid = (pixels_px / size_px * 2 - 1)[None, None]
    return functional.grid_sample(maps[None], grid, padding_mode="border", align_corners=False)[0, :, 0]


def _on_photograph(fit: OutlineFit, view: View) -> Float[Tensor, "2 3"]:
    """The similarity in the photograph's own pixels."""
    assert view.depth is not None
    scale = view.width_px / view.depth.depth_z.shape[1]
    transform = fit.photograph_from_depth.clone()
    transform[:, 2] *= scale
    return transform
