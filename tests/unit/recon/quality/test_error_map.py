"""Known colour errors land on the right texels with the right value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import meshes
from recon.errors import DiskFull
from recon.quality import write_error_map
from recon.raster.torch_raster import TorchRasterizer

CPU = torch.device("cpu")


def side_pixels(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle of one side's chart, which fills 12 of the 16 texels of its cell; 3 x 2 cells fill the picture."""
    row, column = divmod(side, 3)
    return picture[row * 16 + 4 : row * 16 + 12, column * 16 + 4 : column * 16 + 12]


def test_error_is_the_colour_difference_per_side(tmp_path: Path) -> None:
    """A photograph 0.1 off gives its side index 1 + 254 * 0.1 / 0.25; exact photographs give 1; no view gives 0."""
    capture = meshes.box_capture()
    darker = replace(capture.views[5], image_srgb=(capture.views[5].image_srgb - 0.1).clamp_min(0))
    views = (*capture.views[1:5], darker)
    write_error_map(
        meshes.textured_box(), replace(capture, views=views), TorchRasterizer(), CPU, tmp_path / "error.png"
    )
    picture = np.asarray(Image.open(tmp_path / "error.png"))
    assert np.unique(side_pixels(picture, 5)).tolist() == [103]
    assert np.unique(side_pixels(picture, 3)).tolist() == [1]
    assert np.unique(side_pixels(picture, 0)).tolist() == [0]


def test_colours_run_from_grey_over_dark_blue_to_yellow(tmp_path: Path) -> None:
    """Unseen is grey, no error dark blue, full scale yellow."""
    write_error_map(meshes.textured_box(), meshes.box_capture(), TorchRasterizer(), CPU, tmp_path / "error.png")
    palette = np.asarray(Image.open(tmp_path / "error.png").getpalette()).reshape(-1, 3).tolist()
    assert (palette[0], palette[1], palette[255]) == ([128, 128, 128], [13, 8, 135], [240, 249, 33])


def test_large_textures_get_a_smaller_map_of_the_same_layout(tmp_path: Path) -> None:
    """A texture of 1536 x 2304 texels has a map of 683 x 1024."""
    box = meshes.enlarged(meshes.textured_box(), 48)
    write_error_map(box, meshes.box_capture(), TorchRasterizer(), CPU, tmp_path / "error.png")
    with Image.open(tmp_path / "error.png") as picture:
        assert picture.size == (1024, 683)
        assert picture.getpixel((1024 // 6, 683 // 4)) == 1


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """A refused write raises DiskFull with the file's name."""
    (tmp_path / "error.png").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as caught:
        write_error_map(meshes.textured_box(), meshes.box_capture(), TorchRasterizer(), CPU, tmp_path / "error.png")
    assert caught.value.file == "error.png"
