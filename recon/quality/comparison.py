"""One view's scores: the drawn mesh against the photograph and the depth image."""

import math

import torch
from skimage.metrics import structural_similarity

from recon.arrays import Bool, Float, Tensor
from recon.quality.rendering import FirstHits, over_white
from recon.scene import View

PSNR_LIMIT_DB = 99.0
"""What identical pictures score, so that means stay finite."""

SSIM_WINDOW_PX = 7
"""scikit-image's default; smaller pictures cannot be compared."""

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

SSIM_RIM_PX = SSIM_WINDOW_PX // 2
"""scikit-image leaves out the picture's rim, where the window reaches outside, from the whole picture's mean."""


def picture_scores(drawn: Float[Tensor, "h w 4"], view: View) -> dict[str, float]:
    """PSNR and SSIM on the object's own pixels and over the whole picture, and the masks' overlap.

    Both pictures are composited on white.  The object's own pixels are the union of the two masks.  The work is done
    where the drawn picture is.
    """
    photo = torch.cat([view.image_srgb.to(drawn), view.foreground_alpha.to(drawn)[..., None]], -1)
    drawn_mask, photo_mask = drawn[..., 3] > 0.5, photo[..., 3] > 0.5
    own_mask = drawn_mask | photo_mask
    one, two = over_white(drawn), over_white(photo)
    ssim_map = _ssim_map(one, two, own_mask)
    return {
        "psnr_db": psnr_db(one[own_mask], two[own_mask]),
        "ssim": float(ssim_map[own_mask].mean()),
        "psnr_image_db": psnr_db(one, two),
        "ssim_image": float(ssim_map[SSIM_RIM_PX:-SSIM_RIM_PX, SSIM_RIM_PX:-SSIM_RIM_PX].mean()),
        "mask_iou": overlap(drawn_mask, photo_mask),
    }


def _ssim_map(
    one: Float[Tensor, "h w 3"], two: Float[Tensor, "h w 3"], own_mask: Bool[Tensor, "h w"]
) -> Float[Tensor, "h w"]:
    """Mean over channels at every pixel; computed around the object only, since white equals white elsewhere."""
    rows, columns = own_mask.any(1).nonzero(), own_mask.any(0).nonzero()
    top, bottom = max(0, int(rows.min()) - 2 * SSIM_RIM_PX), int(rows.max()) + 1 + 2 * SSIM_RIM_PX
    left, right = max(0, int(columns.min()) - 2 * SSIM_RIM_PX), int(columns.max()) + 1 + 2 * SSIM_RIM_PX
    compared = one[top:bottom, left:right], two[top:bottom, left:right]
    whole = torch.ones_like(one[..., 0])
    similarity = _ssim_by_library if one.device.type == "cpu" else ssim
    channels = [similarity(*pair) for pair in zip(*(picture.unbind(2) for picture in compared), strict=True)]
    whole[top:bottom, left:right] = torch.stack(channels).mean(0)
    return whole


def _ssim_by_library(one: Float[Tensor, "h w"], two: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    _, full = structural_similarity(  # type: ignore[no-untyped-call]
        one.numpy(), two.numpy(), win_size=SSIM_WINDOW_PX, data_range=1.0, full=True
    )
    return torch.from_numpy(full)


def ssim(one: Float[Tensor, "h w"], two: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """What scikit-image computes, for a GPU: there it is fast, on the CPU the library is ten times faster.

    Wang et al. 2004 with a uniform window, unbiased variances, and pictures of range 1 that are mirrored at the rim.
    """
    one, two = one.double(), two.double()
    means = torch.stack([one, two, one * one, two * two, one * two])
    for axis in (1, 2):
        size_px = means.shape[axis]
        place = torch.arange(-SSIM_RIM_PX, size_px + SSIM_RIM_PX, device=one.device)
        place = torch.where(place < 0, -1 - place, torch.where(place < size_px, place, 2 * size_px - 1 - place))
        padded = means.index_select(axis, place)
        means = torch.zeros_like(means)
        for first in range(SSIM_WINDOW_PX):
            means += padded.narrow(axis, first, size_px) / SSIM_WINDOW_PX
    mean_one, mean_two, square_one, square_two, product = means
    unbiased = SSIM_WINDOW_PX**2 / (SSIM_WINDOW_PX**2 - 1)
    variances = unbiased * (square_one - mean_one**2 + square_two - mean_two**2)
    covariance = unbiased * (product - mean_one * mean_two)
    luminance = (2 * mean_one * mean_two + SSIM_C1) / (mean_one**2 + mean_two**2 + SSIM_C1)
    similarity: Tensor = luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    return similarity.float()


def depth_scores(hits: FirstHits, view: View, diagonal: float, is_metric: bool) -> dict[str, float]:
    """Errors along the optical axis where a depth was measured on the object and the mesh is there."""
    if view.depth is None or view.depth.is_relative:
        return {}
    depth_z = view.depth.depth_z.to(hits.depth_z)
    compared = view.depth.valid_mask.to(depth_z.device) & object_mask_on(view, depth_z)
    compared &= hits.face_index >= 0
    if not bool(compared.any()):
        return {}
    error = (hits.depth_z - depth_z)[compared].double().abs()
    mae, rmse = float(error.mean()), float((error**2).mean().sqrt())
    percent = {"depth_mae_percent": 100 * mae / diagonal, "depth_rmse_percent": 100 * rmse / diagonal}
    return {**percent, "depth_mae_m": mae, "depth_rmse_m": rmse} if is_metric else percent


def psnr_db(one: Float[Tensor, "*shape"], two: Float[Tensor, "*shape"]) -> float:
    """Peak signal-to-noise ratio of 0..1 values, at most ``PSNR_LIMIT_DB``."""
    mean_square = float(((one - two).double() ** 2).mean())
    return min(PSNR_LIMIT_DB, -10 * math.log10(max(1e-10, mean_square)))


def overlap(one: Bool[Tensor, "h w"], two: Bool[Tensor, "h w"]) -> float:
    """Intersection over union; two empty masks agree."""
    union = int((one | two).sum())
    return int((one & two).sum()) / union if union else 1.0


def object_mask_on(view: View, picture: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The photograph's mask on the grid and the device of another picture with the same field of view."""
    alpha = view.foreground_alpha.to(picture)
    if alpha.shape != picture.shape:
        mode = "area" if picture.numel() < alpha.numel() else "bilinear"
        alpha = torch.nn.functional.interpolate(alpha[None, None], tuple(picture.shape), mode=mode)[0, 0]
    return alpha > 0.5
