"""Distances from pixels to the outline of a mask, a fraction of a pixel exact near it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Int, Tensor

BAND_PX = 6
"""Within this distance the outline is located to a fraction of a pixel."""

FAR_PX = 1e3
"""Where there is no contour at all."""

_CHUNK = 4000


def contour_distances_px(alphas: Iterable[Float[Tensor, "_ _"]]) -> list[Float[Tensor, "_ _"]]:
    """``contour_distance_px`` of several masks at the same time: the distance transform lets go of the interpreter."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(contour_distance_px, alphas))


def contour_distance_px(alpha: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Signed distance of pixel centres to the contour alpha = 0.5, positive outside.

    Distances go to the crossings of the contour with the lines between neighbouring pixel centres, where linear
    interpolation puts them: near the contour to the nearest one, far from it to those of the nearest pixel that has
    any.  A mask that is full or empty is ``FAR_PX`` inside or outside everywhere.

    Args:
        alpha: Coverage by the object, 0..1.
    """
    inside = alpha > 0.5
    if bool(inside.all()) or not bool(inside.any()):
        return torch.full_like(alpha, -FAR_PX if bool(inside.any()) else FAR_PX)
    beside, above = _crossing_shares(alpha, inside), _crossing_shares(alpha.T, inside.T).T
    on_contour = beside.isfinite() | above.isfinite()
    distance = _far_distance_px(on_contour, beside, above)
    window = 2 * BAND_PX + 1
    around = torch.nn.functional.max_pool2d(on_contour[None, None].float(), window, stride=1, padding=BAND_PX)
    near = torch.nonzero(around[0, 0])
    found = torch.cat([_nearest_crossing_px(rows, beside, above) for rows in near.split(_CHUNK)])
    row, column = near.unbind(1)
    distance = distance.index_put((row, column), torch.minimum(found, distance[row, column]))
    return torch.where(inside, -distance, distance)


def _crossing_shares(alpha: Float[Tensor, "h w"], inside: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """How far towards its right neighbour the contour crosses, 0..1; infinite where it does not."""
    here, ahead = alpha[:, :-1], alpha[:, 1:]
    share = torch.where(inside[:, :-1] != inside[:, 1:], (0.5 - here) / (ahead - here), torch.inf)
    return torch.nn.functional.pad(share, (0, 1), value=torch.inf)


def _far_distance_px(
    on_contour: Bool[Tensor, "h w"], beside: Float[Tensor, "h w"], above: Float[Tensor, "h w"]
) -> Float[Tensor, "h w"]:
    """Distance to the crossings beside the nearest pixel that has any."""
    nearest = ndimage.distance_transform_edt(~on_contour.cpu().numpy(), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(nearest).to(on_contour.device).long()
    height, width = on_contour.shape
    rows = torch.arange(height, device=row.device)[:, None]
    columns = torch.arange(width, device=row.device)
    to_beside = (row - rows) ** 2 + (column + beside[row, column] - columns) ** 2
    to_above = (row + above[row, column] - rows) ** 2 + (column - columns) ** 2
    return torch.minimum(to_beside, to_above).sqrt()


def _nearest_crossing_px(
    pixels: Int[Tensor, "n 2"], beside: Float[Tensor, "h w"], above: Float[Tensor, "h w"]
) -> Float[Tensor, " n"]:
    """Distance from pixels (row, column) to the nearest crossing in a window around them; infinite without one."""
    reach = BAND_PX
    padded = [torch.nn.functional.pad(shares, (reach,) * 4, value=torch.inf) for shares in (beside, above)]
    width = padded[0].shape[1]
    steps = torch.arange(-reach, reach + 1, device=pixels.device)
    window = ((steps + reach)[:, None] * width + steps + reach).view(-1)
    rows, columns = steps.repeat_interleave(len(steps)), steps.repeat(len(steps))
    index = (pixels[:, :1] * width + pixels[:, 1:]) + window
    across = (padded[0].view(-1)[index] + columns) ** 2 + rows**2
    down = (padded[1].view(-1)[index] + rows) ** 2 + columns**2
    return torch.minimum(across, down).amin(1).sqrt()
