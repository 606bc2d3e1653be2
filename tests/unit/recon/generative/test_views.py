"""Photographs as the model wants them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import meshes
from recon.errors import ObjectNotFound
from recon.generative.views import MARGIN, MAX_VIEWS, SIDE_PX, choose_views, model_picture
from recon.scene import View


def view(left: int, top: int, right: int, bottom: int, size_px: int = 100) -> View:
    """A red rectangle on green."""
    alpha = torch.zeros(size_px, size_px)
    alpha[top:bottom, left:right] = 1
    image = torch.tensor([0.0, 1.0, 0.0]).expand(size_px, size_px, 3).clone()
    image[alpha > 0] = torch.tensor([1.0, 0.0, 0.0])
    return View("view", image, alpha, "alpha")


@pytest.mark.parametrize("box", [(20, 30, 60, 70), (0, 0, 40, 20), (70, 50, 100, 100), (48, 10, 52, 90)])
def test_the_object_fills_the_square_on_black(box: tuple[int, int, int, int]) -> None:
    """Centred with a tenth of margin, whatever its place and shape; what is not the object is black and clear."""
    picture = np.asarray(model_picture(view(*box)))
    assert picture.shape == (SIDE_PX, SIDE_PX, 4)
    opaque = picture[..., 3] > 0.8 * 255
    assert (picture[~opaque][:, :3] == 0).all()
    assert (picture[opaque][:, 0] > 200).all()
    rows, columns = np.nonzero(opaque)
    if box[0] > 5 and box[1] > 5 and box[2] < 95 and box[3] < 95:  # elsewhere the margin ends with the picture
        extent = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
        assert extent / SIDE_PX == pytest.approx(1 / MARGIN, abs=0.06)
        assert (rows.max() + rows.min()) / 2 / SIDE_PX == pytest.approx(0.5, abs=0.03)
        assert (columns.max() + columns.min()) / 2 / SIDE_PX == pytest.approx(0.5, abs=0.03)


def test_views_are_chosen_evenly() -> None:
    """All of six, sixteen of forty from beginning to end, and none that shows nothing."""
    capture = meshes.box_capture()
    assert choose_views(capture) == list(capture.views)
    many = replace(capture, views=tuple(replace(capture.views[0], name=str(index)) for index in range(40)))
    names = [int(item.name) for item in choose_views(many)]
    assert len(names) == MAX_VIEWS
    assert names == sorted(set(names))
    assert np.diff(names).max() - np.diff(names).min() <= 1
    empty = replace(capture.views[0], foreground_alpha=torch.zeros_like(capture.views[0].foreground_alpha))
    assert len(choose_views(replace(capture, views=(empty, *capture.views[1:])))) == 5
    with pytest.raises(ObjectNotFound, match="masks are empty"):
        choose_views(replace(capture, views=(empty,)))
