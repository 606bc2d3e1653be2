"""Write a capture to disk the way people hand captures in, one function per layout."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from recon.frames import CAMERA_GL_FROM_CAMERA
from recon.scene import Camera, Capture, View

CUBE_VIEW_NAMES = ("front", "back", "left", "right", "top", "bottom")


def write_transforms_json(capture: Capture, folder: Path, unit_m: float = 1e-4) -> Path:
    """RGBA photographs, 16-bit depth and a nerfstudio camera file."""
    _write_flat_pictures(capture, folder, unit_m)
    first = capture.views[0].posed_camera.intrinsics
    frames = [
        {
            "file_path": f"view_{index:02d}.png",
            "depth_file_path": f"depth_{index:02d}.png",
            "transform_matrix": gl_matrix(view.posed_camera),
        }
        for index, view in enumerate(capture.views)
    ]
    content = {
        "camera_model": "OPENCV",
        "fl_x": first.focal_x_px,
        "fl_y": first.focal_y_px,
        "cx": first.principal_x_px,
        "cy": first.principal_y_px,
        "w": first.width_px,
        "h": first.height_px,
        "depth_unit_scale_factor": unit_m,
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content, indent=1))
    return folder


def write_flat_pairs(
    capture: Capture, folder: Path, unit_m: float = 1e-3, background_srgb: tuple[float, float, float] | None = None
) -> Path:
    """16-bit depth and photographs, transparent or in front of an even colour, without cameras."""
    _write_flat_pictures(capture, folder, unit_m, background_srgb)
    return folder


def write_cube_folders(capture: Capture, folder: Path, is_studio: bool = True) -> Path:
    """multi_views/ and depth_renders/ with 8-bit depth normalised per view, 0 being background.

    Args:
        capture: Six views named front, back, left, right, top, bottom.
        folder: Created if absent.
        is_studio: Opaque photographs on white instead of transparent ones.
    """
    assert {view.name for view in capture.views} == set(CUBE_VIEW_NAMES), "a cube has six named sides"
    for name in ("multi_views", "depth_renders"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for view in capture.views:
        picture = on_background(view, (1.0, 1.0, 1.0)) if is_studio else rgba_u8(view)
        Image.fromarray(picture).save(folder / "multi_views" / f"{view.name}.png")
        Image.fromarray(normalised_depth_u8(view)).save(folder / "depth_renders" / f"{view.name}.png")
    return folder


def rgba_u8(view: View) -> npt.NDArray[np.uint8]:
    """The photograph with its straight alpha."""
    picture = np.concatenate([view.image_srgb.numpy(), view.foreground_alpha.numpy()[..., None]], -1)
    return _to_u8(picture)


def on_background(view: View, background_srgb: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """The photograph in front of an even colour (blended as editors do, in sRGB), opaque."""
    alpha = view.foreground_alpha.numpy()[..., None]
    picture = view.image_srgb.numpy() * alpha + np.asarray(background_srgb) * (1 - alpha)
    return _to_u8(picture)


def depth_u16(view: View, unit_m: float) -> npt.NDArray[np.uint16]:
    """Depth in whole steps, 0 where nothing was measured."""
    assert view.depth is not None
    steps = np.rint(view.depth.depth_z.numpy().astype(np.float64) / unit_m)
    return np.where(view.depth.valid_mask.numpy(), steps, 0).astype(np.uint16)


def normalised_depth_u8(view: View) -> npt.NDArray[np.uint8]:
    """Depth so that z = far * (value + 0.5) / 255 with far such that the farthest pixel becomes 255."""
    assert view.depth is not None
    valid = view.depth.valid_mask.numpy()
    depth_z = view.depth.depth_z.numpy().astype(np.float64)
    fraction = depth_z / depth_z[valid].max()
    return np.where(valid, np.floor(fraction * 255.4999), 0).astype(np.uint8)


def gl_matrix(camera: Camera) -> list[list[float]]:
    """Camera-to-world with OpenGL camera axes, as nested lists."""
    matrix: list[list[float]] = (camera.world_from_camera @ CAMERA_GL_FROM_CAMERA).tolist()
    return matrix


def _to_u8(picture: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = np.rint(picture * 255).astype(np.uint8)
    return rounded


def _write_flat_pictures(
    capture: Capture, folder: Path, unit_m: float, background_srgb: tuple[float, float, float] | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, view in enumerate(capture.views):
        picture = rgba_u8(view) if background_srgb is None else on_background(view, background_srgb)
        Image.fromarray(picture).save(folder / f"view_{index:02d}.png")
        Image.fromarray(depth_u16(view, unit_m)).save(folder / f"depth_{index:02d}.png")
