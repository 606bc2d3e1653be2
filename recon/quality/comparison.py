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

SSIM_RIM_PX = SSIM_WINDOW_PX // 2
"""scikit-image leaves out the picture's rim, where the window reaches outside, from the whole picture's mean."""


def picture_scores(drawn: Float[Tensor, "h w 4"], view: View) -> dict[str, float]:
    """PSNR and SSIM on the object's own pixels and over the whole picture, and the masks' overlap.

    Both pictures are composited on white.  The object's own pixels are the union of the two masks.
    """
    photo = torch.cat([view.image_srgb, view.foreground_alpha[..., None]], -1).cpu().float()
    drawn = drawn.cpu()
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
    _, around = structural_similarity(  # type: ignore[no-untyped-call]
        one[top:bottom, left:right].numpy(),
        two[top:bottom, left:right].numpy(),
        win_size=SSIM_WINDOW_PX,
        channel_axis=2,
        data_range=1.0,
        full=True,
    )
    whole = torch.ones(own_mask.shape)
    whole[top:bottom, left:right] = torch.from_numpy(around).mean(2)
    return whole


def depth_scores(hits: FirstHits, view: View, diagonal: float, is_metric: bool) -> dict[str, float]:
    """Errors along the optical axis where a depth was measured on the object and the mesh is there."""
    if view.depth is None or view.depth.is_relative:
        return {}
    depth_z = view.depth.depth_z.to(hits.depth_z)
    compared = view.depth.valid_mask.to(depth_z.device) & object_mask_on(view, *depth_z.shape).to(depth_z.device)
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


def object_mask_on(view: View, height_px: int, width_px: int) -> Bool[Tensor, "h w"]:
    """The photograph's mask on another grid with the same field of view."""
    alpha = view.foreground_alpha.cpu().float()
    if tuple(alpha.shape) != (height_px, width_px):
        is_smaller = height_px * width_px < alpha.numel()
        alpha = torch.nn.functional.interpolate(
            alpha[None, None], (height_px, width_px), mode="area" if is_smaller else "bilinear"
        )[0, 0]
    return alpha > 0.5
