"""Photographs as the model was trained on them: the object alone on black, centred, filling the square.

Equal to upstream's own ``preprocess_image`` for a picture with a mask (compared in tests/gpu), so that its background
network is never asked.  The originals stay as they are; only the model sees these.
"""

import torch
from PIL import Image

from recon.arrays import Float, Tensor
from recon.errors import ObjectNotFound
from recon.scene import Capture, View

SIDE_PX = 518
OPAQUE = 0.8
"""Pixels above this coverage bound the object and keep their colour."""
MARGIN = 1.1
"""Side of the crop in sides of the object's bounding square."""
MAX_VIEWS = 16
"""GPU memory grows with the views; the authors state 18 GB for 16."""


def choose_views(capture: Capture) -> list[View]:
    """The views that show the object, at most ``MAX_VIEWS`` of them, evenly through the capture.

    Raises:
        ObjectNotFound: No view has a mask with anything in it.
    """
    usable = [view for view in capture.views if bool((view.foreground_alpha > OPAQUE).any())]
    if not usable:
        raise ObjectNotFound("No photograph shows the object: all masks are empty.")
    count = min(len(usable), MAX_VIEWS)
    return [usable[index * len(usable) // count] for index in range(count)]


def model_picture(view: View, side_px: int = SIDE_PX) -> Image.Image:
    """An RGBA picture of ``side_px`` squared: cropped around the object, black outside it."""
    picture = torch.cat([view.image_srgb, view.foreground_alpha[..., None]], -1).cpu().float()
    picture = (picture * 255).round() / 255  # upstream starts from 8 bits
    cropped = _square_crop(picture)
    resized = torch.nn.functional.interpolate(
        cropped.permute(2, 0, 1)[None], (side_px, side_px), mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    colour, alpha = resized[..., :3], resized[..., 3:]
    values = torch.cat([colour * (alpha > OPAQUE), alpha], -1) * 255
    return Image.fromarray(values.to(torch.uint8).numpy(), "RGBA")


def _square_crop(picture: Float[Tensor, "h w 4"]) -> Float[Tensor, "s t 4"]:
    """The object with a margin, padded with nothing where the picture ends."""
    height, width = picture.shape[:2]
    rows, columns = torch.nonzero(picture[..., 3] > OPAQUE).unbind(1)
    left, right, top, bottom = int(columns.min()), int(columns.max()), int(rows.min()), int(rows.max())
    half = int(max(right - left, bottom - top) * MARGIN) // 2
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    first_x, last_x = max(0, int(middle_x - half)), min(width, int(middle_x + half))
    first_y, last_y = max(0, int(middle_y - half)), min(height, int(middle_y + half))
    cropped = picture[first_y : max(last_y, first_y + 1), first_x : max(last_x, first_x + 1)]
    tall, wide = cropped.shape[:2]
    pad_x, pad_y = (tall - wide) // 2 if tall > wide else 0, (wide - tall) // 2 if wide > tall else 0
    side = max(tall, wide)
    return torch.nn.functional.pad(cropped, (0, 0, pad_x, side - wide - pad_x, pad_y, side - tall - pad_y))
