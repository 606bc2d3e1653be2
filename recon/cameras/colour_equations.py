"""What photographs say about cameras: one place has one colour in all of them, up to each one's exposure.

A point of one view that lies on another view's surface has a colour in both photographs; their differences, with
derivatives by the unknowns of both views, join the distances in one set of normal equations (photometric bundle
adjustment, Delaunoy and Pollefeys 2014).  Depth is blind to motions that map a shape onto itself; colours are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from recon.arrays import Bool, Float, Tensor
from recon.cameras.agreement import Comparison, Views, compare
from recon.cameras.normal_equations import Derivatives, Sums, jacobian
from recon.cameras.patches import Colours, sample
from recon.cameras.rig_state import RigState

_DEVIATION = 1.48
"""Standard deviation of what is normally distributed, in medians of its magnitude."""
_LEAST_COLOUR = 0.004
"""One step of an 8-bit picture (sRGB, 0..1): colours of one place differ by so much at least."""
_LEAST_DISTANCE_PX = 0.1
"""Surfaces of one place lie apart by so much at least: what interpolation between pixels leaves."""
_ODD = 2.0
"""Colours that differ by more deviations are gloss, a shadow or another thing rather than a wrong camera."""
_LEAST_MATCHES = 50
_REWEIGHTINGS = 3


@dataclass(frozen=True)
class BlurredColours:
    """Photographs on the grids of the surfaces, as sharp as a comparison can use them.

    Attributes:
        maps: Per view: colour (sRGB, 0..1), its change per pixel to the right, and down.
        at_samples: Colours at every view's samples.
    """

    maps: tuple[Float[Tensor, "9 _h _w"], ...]
    at_samples: Float[Tensor, "k n 3"]


def blur_colours(colours: Colours, views: Views, blur_px: float) -> BlurredColours:
    """Blur every photograph inside its object's outline by a Gaussian of this standard deviation."""
    maps = []
    for picture, surface in zip(colours.maps, views.surfaces, strict=True):
        cover = (surface.outside_px < 0).to(picture.dtype)
        layers = _blurred(torch.cat([picture * cover, cover[None]]), blur_px)
        colour = layers[:3] / layers[3:].clamp_min(1e-3)
        rise_y, rise_x = torch.gradient(colour, dim=(1, 2))
        maps.append(torch.cat([colour, rise_x, rise_y]))
    places = zip(maps, views.samples.pixels_px, strict=True)
    return BlurredColours(
        tuple(maps), torch.stack([sample(layers[:3], pixels_px[None])[0] for layers, pixels_px in places])
    )


def _blurred(layers: Float[Tensor, "c h w"], blur_px: float) -> Float[Tensor, "c h w"]:
    reach = max(1, round(3 * blur_px))
    offsets = torch.arange(-reach, reach + 1, dtype=layers.dtype, device=layers.device)
    kernel = torch.exp(-((offsets / blur_px) ** 2) / 2)
    kernel = (kernel / kernel.sum())[None, None, None]
    across = functional.conv2d(layers[:, None], kernel, padding=(0, reach))
    return functional.conv2d(across, kernel.transpose(2, 3), padding=(reach, 0))[:, 0]


def assemble_colours(state: RigState, views: Views, colours: BlurredColours, reach: float, pixel: float) -> Derivatives:
    """Derivatives of the colours, in the units of the depths': both count by their measured precision.

    Args:
        state: The cameras.
        views: What is compared; visibility follows from depth.
        colours: Of the same views and samples.
        reach: A point further than this from the surface does not belong to it.
        pixel: Size of a pixel on the object, world units.
    """
    sums = Sums(state, views)
    for target in range(state.count):
        comparison = compare(state, views, target, reach)
        matched = _matched(comparison, target)
        if int(matched.sum()) < _LEAST_MATCHES:
            continue
        apart = max(_DEVIATION * float(comparison.residual[matched].abs().median()), _LEAST_DISTANCE_PX * pixel)
        for channel in _channels(state, comparison, matched, colours, target):
            weights = channel.weights * (apart / channel.deviation) ** 2
            found = jacobian(state, views, channel.comparison, target)
            sums.add(_without_exposure(found, channel), weights, channel.comparison.residual, target)
    return sums.derivatives()


@dataclass(frozen=True)
class _Channel:
    """One colour channel of all samples against one target.

    Attributes:
        comparison: With the difference of the colours as residual, after one factor for each pair of views.
        own: The samples' own colours.
        weights: 0..1, of iteratively reweighted least squares.
        deviation: Robust standard deviation of the differences of all channels.
    """

    comparison: Comparison
    own: Float[Tensor, "k n"]
    weights: Float[Tensor, "k n"]
    deviation: float


def colour_differences(
    state: RigState, comparison: Comparison, colours: BlurredColours, target: int
) -> Float[Tensor, " m"]:
    """How far the colours of the points that meet on the target's surface differ, all channels, as magnitudes."""
    seen = sample(colours.maps[target][:3], _pixels_px(state, comparison, target))
    matched = _matched(comparison, target)
    return _robust_differences(colours.at_samples, seen, matched)[0][matched].abs().flatten()


def _matched(comparison: Comparison, target: int) -> Bool[Tensor, "k n"]:
    """Points of other views on the target's surface."""
    matched = comparison.on_surface.clone()
    matched[target] = False
    return matched


def _from_principal_px(state: RigState, comparison: Comparison, target: int) -> Float[Tensor, "k n 2"]:
    points = comparison.points
    return points[..., :2] / points[..., 2:].clamp_min(1e-6) * state.focal_px[target]


def _pixels_px(state: RigState, comparison: Comparison, target: int) -> Float[Tensor, "k n 2"]:
    return _from_principal_px(state, comparison, target) + state.principal_px[target]


def _channels(
    state: RigState, comparison: Comparison, matched: Bool[Tensor, "k n"], colours: BlurredColours, target: int
) -> Iterator[_Channel]:
    focal_px = state.focal_px[target]
    z = comparison.points[..., 2].clamp_min(1e-6)
    from_principal_px = _from_principal_px(state, comparison, target)
    found = sample(colours.maps[target], from_principal_px + state.principal_px[target])
    own, seen = colours.at_samples, found[..., :3]
    rises = torch.stack([found[..., 3:6], found[..., 6:]], -1)
    residual, weights, deviation = _robust_differences(own, seen, matched)
    outward = (rises * from_principal_px[..., None, :]).sum(-1, keepdim=True)
    by_focal = rises * focal_px
    by_points = torch.cat([by_focal, -outward], -1) / z[..., None, None]
    zero = torch.zeros_like(outward)
    by_targets = torch.cat([zero, outward, by_focal, zero], -1)
    for index in range(3):
        differences = replace(
            comparison,
            residual=residual[..., index],
            by_point=by_points[..., index, :],
            by_target=by_targets[..., index, :],
        )
        yield _Channel(differences, own[..., index], weights[..., index], deviation)


def _robust_differences(
    own: Float[Tensor, "k n 3"], seen: Float[Tensor, "k n 3"], matched: Bool[Tensor, "k n"]
) -> tuple[Float[Tensor, "k n 3"], Float[Tensor, "k n 3"], float]:
    """Differences after one exposure for each pair of views and channel, their weights, and their deviation."""
    weights = matched[..., None].to(own.dtype).expand_as(own)
    for _ in range(_REWEIGHTINGS):
        gain = (weights * own * seen).sum(1, True) / (weights * own**2).sum(1, True).clamp_min(1e-9)
        differences = seen - gain * own
        deviation = max(_DEVIATION * float(differences[matched].abs().median()), _LEAST_COLOUR)
        weights = matched[..., None] / (1 + (differences / (_ODD * deviation)) ** 2) ** 2
    return differences, weights, deviation


def _without_exposure(found: Float[Tensor, "k n 22"], channel: _Channel) -> Float[Tensor, "k n 22"]:
    """Derivatives when the exposure of each pair follows the cameras (variable projection, Golub and Pereyra 1973)."""
    weighted = (channel.weights * channel.own)[..., None]
    share = (weighted * found).sum(1, True) / (weighted * channel.own[..., None]).sum(1, True).clamp_min(1e-9)
    return found - channel.own[..., None] * share
