"""What photographs say about cameras: one place has one colour in all of them, up to each one's exposure.

A point of one view that lies on another view's surface has a colour in both photographs; their differences, with
derivatives by the poses of both views, join the distances in one set of normal equations (photometric bundle
adjustment, Delaunoy and Pollefeys 2014).  Depth is blind to motions that map a shape onto itself; colours are not.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from recon.arrays import Bool, Float, Tensor
from recon.cameras.agreement import Comparison, Pairs, Views
from recon.cameras.normal_equations import Derivatives, PairSums, pair_count, pose_slopes, products
from recon.cameras.patches import Colours
from recon.cameras.pixel_maps import PixelMaps, read
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
    """Photographs as sharp as a comparison can use them, in single precision.

    Attributes:
        maps: Per view: colour (sRGB, 0..1), its change per pixel of the surface's grid to the right, and down.
        shrink: Pixels of the surfaces' grids per pixel of these maps.
        at_samples: Colours at every view's samples.
    """

    maps: PixelMaps
    shrink: int
    at_samples: Float[Tensor, "k n 3"]

    def fewer(self, count: int) -> "BlurredColours":
        """The same photographs, compared at the first samples of every view."""
        return replace(self, at_samples=self.at_samples[:, :count])


class ColourPyramid:
    """Photographs blurred as comparisons ask for, each blur once and on a grid as coarse as itself.

    A pyramid as Burt and Adelson's (1983).
    """

    def __init__(self, colours: Colours, views: Views) -> None:
        self._colours, self._views = colours, views
        self._levels: dict[int, BlurredColours] = {}

    def level(self, blur_px: int) -> BlurredColours:
        """Blurred inside each object's outline by a Gaussian of this standard deviation, a power of two."""
        if blur_px not in self._levels:
            self._levels[blur_px] = _blur(self._colours, self._views, blur_px)
        return self._levels[blur_px]


def _blur(colours: Colours, views: Views, blur_px: int) -> BlurredColours:
    insides = [surface.outside_px < 0 for surface in views.surfaces]
    blurred = (_blurred(picture, inside, blur_px) for picture, inside in zip(colours.maps, insides, strict=True))
    maps = PixelMaps.stacked(list(blurred))
    at_samples = [
        read(maps.of(first, last), views.samples.pixels_px[first:last] / blur_px)[..., :3]
        for first, last in maps.spans(len(insides))
    ]
    return BlurredColours(maps, blur_px, torch.cat(at_samples))


def _blurred(picture: Float[Tensor, "3 h w"], inside: Bool[Tensor, "h w"], blur_px: int) -> Float[Tensor, "9 _h _w"]:
    cover = inside[None].float()
    layers = torch.cat([picture.float() * cover, cover])
    height_px, width_px = inside.shape
    layers = functional.pad(layers, (0, -width_px % blur_px, 0, -height_px % blur_px))
    layers = functional.avg_pool2d(layers[None], blur_px)[0]
    # Averaging blocks of pixels was a part of the blur.
    layers = _convolved(layers, math.sqrt(1 - (1 - blur_px**-2) / 12))
    colour = layers[:3] / layers[3:].clamp_min(1e-3)
    rise_y, rise_x = torch.gradient(colour, spacing=float(blur_px), dim=(1, 2))
    return torch.cat([colour, rise_x, rise_y])


def _convolved(layers: Float[Tensor, "c h w"], deviation_px: float) -> Float[Tensor, "c h w"]:
    # Shifted sums: convolutions are ten times slower on a CPU and may round to half precision on a GPU.
    reach = math.ceil(3 * deviation_px)
    kernel = [math.exp(-((step / deviation_px) ** 2) / 2) for step in range(-reach, reach + 1)]
    for axis, pad in ((2, (reach, reach)), (1, (0, 0, reach, reach))):
        padded, layers = functional.pad(layers, pad), torch.zeros_like(layers)
        for step, weight in enumerate(kernel):
            layers.add_(padded.narrow(axis, step, layers.shape[axis]), alpha=weight / sum(kernel))
    return layers


class ColourSums:
    """Adds what colours say about poses up, comparison by comparison, in the units of the distances."""

    def __init__(self, state: RigState, views: Views, colours: BlurredColours, pixel: float) -> None:
        """Start with nothing.

        Args:
            state: The cameras.
            views: What is compared; visibility follows from depth.
            colours: Of the same views and samples.
            pixel: Size of a pixel on the object, world units.
        """
        self._state, self._views, self._colours, self._pixel = state, views, colours, pixel
        self._sums = PairSums()

    def add(self, pairs: Pairs, comparison: Comparison) -> None:
        """Add the differences of some pairs of views; colours and distances count by their measured precision."""
        seen = _seen(self._colours, pairs, comparison)
        own = self._colours.at_samples[pairs.sources]
        differences = _robust_differences(own, seen[..., :3], comparison.on_surface, pairs)
        apart = _deviation(comparison.residual[..., None], comparison.on_surface, pairs)
        apart = apart.clamp_min(_LEAST_DISTANCE_PX * self._pixel).float()
        is_enough = comparison.on_surface.view(pairs.target_count, -1).sum(1) >= _LEAST_MATCHES
        factor = pairs.spread(is_enough * (apart / differences.deviation) ** 2)
        slopes = self._slopes(pairs, comparison, seen[..., 3:])
        columns = [own[..., None], slopes, differences.residual[..., None]]
        rows = torch.cat(columns, -1).transpose(1, 2)  # channels apart
        sums = products(rows, (differences.weights * factor[:, None, None]).transpose(1, 2))
        self._sums.add(pairs, _without_exposure(sums.double()).sum(1))

    def derivatives(self) -> Derivatives:
        """Means over all samples and targets, by poses."""
        return self._sums.derivatives(self._state.count, pair_count(self._state, self._views))[0]

    def _slopes(self, pairs: Pairs, comparison: Comparison, rises: Float[Tensor, "b n 6"]) -> Float[Tensor, "b n 3 6"]:
        """Derivatives of the differences of all channels by the poses, in the target's frame."""
        focal_px, principal_px = self._state.focal_px[pairs.targets], self._state.principal_px[pairs.targets]
        from_principal_px = (comparison.pixels_px - principal_px[:, None]).float()
        points = comparison.points.float()
        by_pixel = torch.stack([rises[..., :3], rises[..., 3:]], -1)
        outward = (by_pixel * from_principal_px[..., None, :]).sum(-1, keepdim=True)
        by_point = torch.cat([by_pixel * focal_px[:, None, None].float(), -outward], -1)
        by_point = by_point / points[..., 2, None, None].clamp_min(1e-6)
        return pose_slopes(points[..., None, :].expand_as(by_point), by_point)


def colour_differences(pairs: Pairs, comparison: Comparison, colours: BlurredColours) -> Float[Tensor, " m"]:
    """How far the colours of the points that meet on the targets' surfaces differ, all channels, as magnitudes."""
    own, seen = colours.at_samples[pairs.sources], _seen(colours, pairs, comparison)[..., :3]
    differences = _robust_differences(own, seen, comparison.on_surface, pairs)
    return differences.residual[comparison.on_surface].abs().flatten()


def _seen(colours: BlurredColours, pairs: Pairs, comparison: Comparison) -> Float[Tensor, "b n 9"]:
    """What the targets' photographs show where samples fall on them."""
    return read(colours.maps.of(*pairs.span), comparison.pixels_px / colours.shrink)


@dataclass(frozen=True)
class _Differences:
    """Colours of one place in two photographs, after one factor for each pair of views and channel.

    Attributes:
        residual: The target's colour less the sample's.
        weights: 0..1, of iteratively reweighted least squares.
        deviation: Robust standard deviation for each target, all channels.
    """

    residual: Float[Tensor, "b n 3"]
    weights: Float[Tensor, "b n 3"]
    deviation: Float[Tensor, " t"]


def _robust_differences(
    own: Float[Tensor, "b n 3"], seen: Float[Tensor, "b n 3"], matched: Bool[Tensor, "b n"], pairs: Pairs
) -> _Differences:
    weights = matched[..., None].to(own.dtype).expand_as(own)
    for _ in range(_REWEIGHTINGS):
        gain = (weights * own * seen).sum(1, True) / (weights * own**2).sum(1, True).clamp_min(1e-9)
        residual = seen - gain * own
        deviation = _deviation(residual, matched, pairs).clamp_min(_LEAST_COLOUR)
        limit = _ODD * pairs.spread(deviation)[:, None, None]
        weights = matched[..., None] / (1 + (residual / limit) ** 2) ** 2
    return _Differences(residual, weights, deviation)


def _deviation(residual: Float[Tensor, "b n c"], matched: Bool[Tensor, "b n"], pairs: Pairs) -> Float[Tensor, " t"]:
    """Robust standard deviation of what was matched, for each target; 0 where nothing was."""
    magnitude = torch.where(matched[..., None], residual.abs(), math.nan)
    return _DEVIATION * magnitude.reshape(pairs.target_count, -1).nanmedian(1).values.nan_to_num()


def _without_exposure(sums: Float[Tensor, "b 3 8 8"]) -> Float[Tensor, "b 3 7 7"]:
    """Sums of products when the exposure of each pair follows the cameras (variable projection).

    The first column, a colour, is what an exposure changes: what it explains of the others is taken off them (Golub and
    Pereyra 1973).
    """
    shared = sums[..., 1:, :1]
    return sums[..., 1:, 1:] - shared @ shared.transpose(-1, -2) / sums[..., :1, :1].clamp_min(1e-9)
