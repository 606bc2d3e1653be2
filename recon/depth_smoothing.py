"""Noisy depth made smooth without rounding edges off or shrinking what bulges."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Tensor

WINDOW, MIN_RADIUS_PX, MAX_RADIUS_PX = 0.25, 4, 12
"""Half of the window that planes are fitted in, from the size of what is seen and the noise, both in pixels: the window
that errs least grows with the former's 4/5th power and the latter's 1/5th (Fan and Gijbels 1996).  The factor was
measured on analytic solids; wider windows than the largest cost more time than they gain."""

SPARSE_PX = 2
"""Of what is smooth already, or only needed roughly, every second row and column says enough."""

SUPPORT = 8
"""A pixel with fewer neighbours of its own surface, of the twenty-eight around it, is a flying pixel."""

LATERAL_PX = 1.0
"""Sensors look so far aside, which moves the depth of surfaces that they see obliquely."""

STEEPEST_PX = 30.0
"""On a surface that a camera sees, depth changes by no more pixel widths than this from pixel to pixel (88 degrees
off); beyond it there is a step between surfaces."""


@dataclass(frozen=True)
class SmoothDepth:
    """Depth without its noise; zero where there is none.

    Attributes:
        depth_z_m: Along the optical axis.
        mask: Where there is any.
        slopes: Rise of inverse depth (1/m) per pixel to the right and down.
    """

    depth_z_m: Float[Tensor, "k h w"]
    mask: Bool[Tensor, "k h w"]
    slopes: Float[Tensor, "2 k h w"]


def smooth_depth(
    depth_z_m: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    is_object: Bool[Tensor, "k h w"],
    noise_m: float,
    pixel_m: float,
) -> SmoothDepth:
    """Drop flying pixels, then smooth by planes fitted to every pixel's neighbourhood.

    The plane is fitted to inverse depth (affine on planes, whatever the slope) with weights that fall with image
    distance and with the distance from the current plane, so edges between surfaces stay sharp.  Planes cut through
    bulges; smoothing the smooth surface in the same way shows by how much, and that is given back (twicing,
    Tukey 1977): what is left of the noise then averages out over views, which a shrunken surface would not.

    Args:
        depth_z_m: Along the optical axis, as measured.
        mask: Where it means something.
        is_object: Where the pictures show the object; what lacks there is bridged.
        noise_m: Standard deviation of a pixel.
        pixel_m: Width of a pixel at the object.
    """
    rows, columns = (torch.nonzero(mask.any(0).any(axis)).squeeze(1) for axis in (1, 0))
    smooth = SmoothDepth(torch.zeros_like(depth_z_m), torch.zeros_like(mask), depth_z_m.new_zeros(2, *mask.shape))
    if rows.numel() == 0:
        return smooth
    inner = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    tolerance_m = 3 * noise_m + pixel_m
    measured = mask[inner]
    depth_z_m, mask = _bridged(depth_z_m[inner], measured, is_object[inner], tolerance_m, pixel_m)
    aslant = _surface_through(_inverse(depth_z_m, mask), measured, tolerance_m, pixel_m)
    level_count = _close_neighbours(depth_z_m, measured, tolerance_m + 2 * pixel_m)
    mask = mask & (torch.maximum(level_count, 2 * aslant.pair_count) >= SUPPORT)
    inverse = _inverse(depth_z_m, mask)
    radius_px = _radius_px(mask, noise_m / pixel_m)
    is_level = level_count >= 2 * aslant.pair_count
    slopes = torch.where(is_level, torch.zeros_like(aslant.slopes), aslant.slopes)
    start = torch.cat([inverse[None], slopes])
    width = tolerance_m * inverse**2 + LATERAL_PX * slopes.norm(dim=0)
    fit = _PlaneFit(inverse, mask, measured & mask, 1 / width.clamp_min(1e-12))
    plane = fit.around(start, inverse, _window(radius_px, SPARSE_PX))
    once = fit.around(plane, inverse, _window(radius_px))
    twice = fit.around(plane, once[0], _window(radius_px, SPARSE_PX))
    restored = 2 * once - twice
    mask = mask & (restored[0] > 0)
    restored_z_m = torch.where(mask, 1 / restored[0], torch.zeros_like(restored[0]))
    mask = mask & ((restored_z_m - depth_z_m).abs() < 2 * width * depth_z_m**2)
    smooth.depth_z_m[inner] = torch.where(mask, restored_z_m, torch.zeros_like(restored_z_m))
    smooth.mask[inner], smooth.slopes[inner] = mask, torch.where(mask, restored[1:], torch.zeros_like(restored[1:]))
    return smooth


def shifted(picture: Tensor, rows: int, columns: int) -> Tensor:
    """The neighbour ``rows`` below and ``columns`` to the right; zero (False) beyond the border."""
    height, width = picture.shape[1:3]
    moved = torch.zeros_like(picture)
    to_rows = slice(max(0, -rows), min(height, height - rows))
    to_columns = slice(max(0, -columns), min(width, width - columns))
    from_rows = slice(max(0, rows), min(height, height + rows))
    from_columns = slice(max(0, columns), min(width, width + columns))
    moved[:, to_rows, to_columns] = picture[:, from_rows, from_columns]
    return moved


def _inverse(depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    return torch.where(mask, 1 / depth_z_m.clamp_min(1e-9), torch.zeros_like(depth_z_m))


def _close_neighbours(
    depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], tolerance_m: float
) -> Float[Tensor, "k h w"]:
    count = torch.zeros_like(depth_z_m)
    for rows, columns in _window(3).steps:
        is_close = (shifted(depth_z_m, rows, columns) - depth_z_m).abs() < tolerance_m
        count += is_close & shifted(mask, rows, columns)
    return count


@dataclass(frozen=True)
class _Pair:
    """Every pixel's two neighbours on opposite sides, in inverse depth.

    Attributes:
        both: Where both were measured.
        middle: Their mean.
        rise: Half of how much more the one ahead has.
        rise_per_px: Its size for each pixel's width on the way.
    """

    both: Bool[Tensor, "k h w"]
    middle: Float[Tensor, "k h w"]
    rise: Float[Tensor, "k h w"]
    rise_per_px: Float[Tensor, "k h w"]


def _opposite_pairs(
    inverse: Float[Tensor, "k h w"], measured: Bool[Tensor, "k h w"]
) -> Iterator[tuple[tuple[int, int], _Pair]]:
    """All within three pixels, with the step to the one ahead."""
    for rows, columns in (step for step in _window(3).steps if step > (0, 0)):
        ahead, behind = shifted(inverse, rows, columns), shifted(inverse, -rows, -columns)
        both = shifted(measured, rows, columns) & shifted(measured, -rows, -columns)
        rise = (ahead - behind) / 2
        yield (rows, columns), _Pair(both, (ahead + behind) / 2, rise, rise.abs() / math.hypot(rows, columns))


@dataclass(frozen=True)
class _Surface:
    """What surrounds every pixel, however oblique.

    Attributes:
        slopes: Rise of inverse depth per pixel to the right and down.
        pair_count: Of the fourteen pairs of opposite neighbours, those that have the pixel in their middle.
    """

    slopes: Float[Tensor, "2 k h w"]
    pair_count: Float[Tensor, "k h w"]


def _surface_through(
    inverse: Float[Tensor, "k h w"], measured: Bool[Tensor, "k h w"], tolerance_m: float, pixel_m: float
) -> _Surface:
    """The plane through every pixel that its pairs of opposite neighbours agree on.

    On a surface seen obliquely depth changes from pixel to pixel by more than noise, so that no neighbour has a pixel's
    own depth; but opposite ones still have it in their middle.
    """
    count, xx, xy, yy, right, down = torch.zeros(6, *inverse.shape, device=inverse.device)
    width, steepest = tolerance_m * inverse**2, STEEPEST_PX * pixel_m * inverse**2
    for (rows, columns), pair in _opposite_pairs(inverse, measured):
        good = pair.both & (pair.rise_per_px < steepest)
        good &= 2 * (pair.middle - inverse).abs() < width + LATERAL_PX * pair.rise_per_px
        count += good
        for total, term in ((xx, columns**2), (xy, columns * rows), (yy, rows**2)):
            total.add_(good, alpha=term)
        right += good * pair.rise * columns
        down += good * pair.rise * rows
    xx, yy = xx + 1e-3, yy + 1e-3
    slopes = torch.stack([yy * right - xy * down, xx * down - xy * right]) / (xx * yy - xy**2)
    return _Surface(slopes, count)


def _bridged(
    depth_z_m: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    is_object: Bool[Tensor, "k h w"],
    tolerance_m: float,
    pixel_m: float,
) -> tuple[Float[Tensor, "k h w"], Bool[Tensor, "k h w"]]:
    """Fill what a sensor left out of a surface: pixels that pairs of opposite neighbours agree on."""
    inverse = _inverse(depth_z_m, mask)
    steepest = STEEPEST_PX * pixel_m
    count, total = torch.zeros(2, *inverse.shape, device=inverse.device)
    for is_second in (False, True):
        mean = total / count.clamp_min(1)
        count, total = torch.zeros_like(count), torch.zeros_like(total)
        for _, pair in _opposite_pairs(inverse, mask):
            good = pair.both & (pair.rise_per_px < steepest * pair.middle**2)
            if is_second:
                good &= (pair.middle - mean).abs() < tolerance_m * pair.middle**2 + LATERAL_PX * pair.rise_per_px
            count += good
            total += good * pair.middle
    is_filled = is_object & ~mask & (2 * count >= SUPPORT)
    return torch.where(is_filled, count / total.clamp_min(1e-9), depth_z_m), mask | is_filled


def _radius_px(mask: Bool[Tensor, "k h w"], noise_px: float) -> int:
    """The window that balances noise against detail; see ``WINDOW``."""
    pixel_counts = mask.sum((1, 2))
    extent_px = math.sqrt(float(pixel_counts[pixel_counts > 0].float().mean()))
    radius_px: float = WINDOW * extent_px**0.8 * noise_px**0.2
    return round(min(max(radius_px, MIN_RADIUS_PX), MAX_RADIUS_PX))


@dataclass(frozen=True)
class _Window:
    """Steps (rows, columns) to the neighbours in a disc, whose radius says how their weights fall."""

    steps: tuple[tuple[int, int], ...]
    radius_px: int


def _window(radius_px: int, stride_px: int = 1) -> _Window:
    reach = range(-(radius_px // stride_px) * stride_px, radius_px + 1, stride_px)
    steps = [(row, column) for row in reach for column in reach if 0 < row**2 + column**2 <= radius_px**2]
    return _Window(tuple(steps), radius_px)


@dataclass(frozen=True)
class _PlaneFit:
    """Fits planes to what surrounds every pixel.

    Attributes:
        inverse: Of the measured depth, 1/m: what decides who belongs to a surface.
        mask: Where there is any.
        measured: Where it is not bridged: of bridged pixels nothing is learnt.
        sharpness: Neighbours that lie off the present plane by more than its inverse count for little.
    """

    inverse: Float[Tensor, "k h w"]
    mask: Bool[Tensor, "k h w"]
    measured: Bool[Tensor, "k h w"]
    sharpness: Float[Tensor, "k h w"]

    def around(
        self, plane: Float[Tensor, "3 k h w"], values: Float[Tensor, "k h w"], window: _Window
    ) -> Float[Tensor, "3 k h w"]:
        """Planes (value, slopes per pixel to the right and down) fitted to ``values``, from the present ones."""
        value, slope_x, slope_y = plane
        moments = torch.zeros(9, *value.shape, device=value.device)
        moments[0], moments[6] = self.measured, values * self.measured
        for rows, columns in window.steps:
            expected = value + slope_x * columns + slope_y * rows
            residual = (shifted(self.inverse, rows, columns) - expected) * self.sharpness
            nearness = math.exp(-2 * (rows**2 + columns**2) / window.radius_px**2)
            weight = nearness * torch.exp(-(residual**2)) * shifted(self.measured, rows, columns)
            for index, term in enumerate((1, columns, rows, columns**2, columns * rows, rows**2)):
                if term:
                    moments[index].add_(weight, alpha=term)
            weighted = weight * shifted(values, rows, columns)
            for index, term in enumerate((1, columns, rows)):
                if term:
                    moments[6 + index].add_(weighted, alpha=term)
        return self._solved(moments)

    def _solved(self, moments: Float[Tensor, "9 k h w"]) -> Float[Tensor, "3 k h w"]:
        count, sx, sy, sxx, sxy, syy = moments[:6]
        ridge = 1e-3 * count + 1e-9
        matrix = torch.stack([count + 1e-9, sx, sy, sx, sxx + ridge, sxy, sy, sxy, syy + ridge], -1)
        matrix = matrix.view(*count.shape, 3, 3)[self.mask].double()
        right = moments[6:9].permute(1, 2, 3, 0)[self.mask].double()
        fitted = torch.zeros(*count.shape, 3, device=count.device)
        fitted[self.mask] = torch.linalg.solve(matrix, right).float()
        return fitted.permute(3, 0, 1, 2)
