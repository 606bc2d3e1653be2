"""The files that a result's gallery consists of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import meshes
from recon.errors import DiskFull
from recon.previews import gallery, sheet_layout, write_preview, write_previews
from recon.previews.drawing import BACKGROUND_SRGB
from recon.raster.torch_raster import TorchRasterizer
from recon.settings import Settings

CPU = torch.device("cpu")
SIDES = ("front", "back", "left", "right", "top", "bottom")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pictures, smaller."""
    monkeypatch.setattr(sheet_layout, "TILE_PX", 64)
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr(gallery, "SIDE_PX", 64)
    monkeypatch.setattr(gallery, "TURNTABLE_PX", 48)
    monkeypatch.setattr(gallery, "TURNTABLE_FRAMES", 4)


def write(output_dir: Path, settings: Settings | None = None) -> list[Path]:
    textured, capture = meshes.textured_box(), meshes.box_capture()
    return write_previews(textured, capture, TorchRasterizer(), output_dir, settings or Settings(), CPU)


@pytest.mark.usefixtures("quick")
def test_every_picture_is_written_and_named(tmp_path: Path) -> None:
    """Six sides, six wireframes, contact sheet, turntable, the folder's picture; what is returned is on disk."""
    written = write(tmp_path)
    expected = {f"previews/{side}{kind}.png" for side in SIDES for kind in ("", "_wireframe")}
    expected |= {"previews/contact_sheet.png", "turntable.webp", "folder.jpg"}
    assert {path.relative_to(tmp_path).as_posix() for path in written} == expected
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    for side in SIDES:
        assert Image.open(tmp_path / "previews" / f"{side}.png").size == (64, 64)


@pytest.mark.usefixtures("quick")
def test_sides_show_their_own_colours(tmp_path: Path) -> None:
    """In a z-up world the front is the side towards -y, and so on round the box."""
    write(tmp_path)
    normals = {"front": 3, "back": 2, "left": 1, "right": 0, "top": 4, "bottom": 5}
    for side, index in normals.items():
        middle = np.asarray(Image.open(tmp_path / "previews" / f"{side}.png"))[32, 32]
        assert np.abs(middle - meshes.SIDE_COLOURS[index].numpy()).max() < 16, side
        wireframe = np.asarray(Image.open(tmp_path / "previews" / f"{side}_wireframe.png"))
        assert wireframe[20, 32].std() < 12  # clay


@pytest.mark.usefixtures("quick")
def test_turntable_turns_without_end(tmp_path: Path) -> None:
    """An animation of all frames that repeats; opposite frames differ."""
    write(tmp_path)
    animation = Image.open(tmp_path / "turntable.webp")
    assert animation.n_frames == 4  # type: ignore[attr-defined]
    assert animation.info["loop"] == 0
    first = np.asarray(animation.convert("RGB")).astype(int)
    animation.seek(2)
    assert np.abs(first - np.asarray(animation.convert("RGB"))).mean() > 10


@pytest.mark.usefixtures("quick")
def test_folder_has_a_picture_of_its_own(tmp_path: Path) -> None:
    """folder.jpg shows the object in colour in front of the previews' background, at a file manager's size."""
    write(tmp_path)
    with Image.open(tmp_path / "folder.jpg") as picture:
        assert picture.size == (256, 256)
        assert np.ptp(np.asarray(picture)[128, 128].astype(int)) > 60
        assert np.abs(np.asarray(picture)[4, 4] - np.round(np.array(BACKGROUND_SRGB) * 255)).max() <= 3


@pytest.mark.usefixtures("quick")
def test_turntable_can_be_left_out(tmp_path: Path) -> None:
    """turntable = false writes none."""
    written = write(tmp_path, Settings(turntable=False))
    assert not (tmp_path / "turntable.webp").exists()
    assert len(written) == 14


@pytest.mark.usefixtures("quick")
def test_turntable_is_made_smaller_until_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file over the limit is written again at a lower quality."""
    write(tmp_path)
    best_bytes = (tmp_path / "turntable.webp").stat().st_size
    monkeypatch.setattr(gallery, "TURNTABLE_BYTES", best_bytes - 1)
    write(tmp_path)
    assert (tmp_path / "turntable.webp").stat().st_size < best_bytes


@pytest.mark.parametrize("has_texture", [True, False])
def test_progress_picture(tmp_path: Path, has_texture: bool) -> None:
    """A small picture of the mesh as it is, in colour once there is colour, and no half-written file beside it."""
    textured = meshes.textured_box()
    path = tmp_path / "preview.png"
    write_preview(textured if has_texture else textured.mesh, path, TorchRasterizer(), "z", CPU)
    picture = np.asarray(Image.open(path)).astype(int)
    assert picture.shape == (gallery.PROGRESS_PX, gallery.PROGRESS_PX, 3)
    assert (np.ptp(picture, axis=-1).max() > 100) is np.bool_(has_texture)
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ENOSPC while saving becomes DISK_FULL and names the picture."""

    def save(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(DiskFull, match=r"preview\.png"):
        write_preview(meshes.box_mesh(), tmp_path / "preview.png", TorchRasterizer(), "z", CPU)
