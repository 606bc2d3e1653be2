"""Cameras in the form that nerfstudio and instant-ngp read (transforms.json)."""

import json
from pathlib import Path

from recon import frames
from recon.errors import writing
from recon.scene import Capture, View


def write_cameras_json(capture: Capture, path: Path) -> None:
    """Write the cameras that were used, in the frame of mesh.obj and mesh.ply.

    Matrices are camera-to-world in OpenGL axes; pixel centres lie at half-integers, as in nerfstudio.  Paths are
    relative to the job folder: there, under the name transforms.json, other programs read the file as it is.

    Args:
        capture: Every view has a camera.
        path: The file to write.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    document = {
        "camera_model": "OPENCV",
        "up_world": capture.up_world,
        "is_metric": capture.is_metric,
        "cameras_source": capture.cameras_source,
        "frames": [_frame(view) for view in capture.views],
    }
    with writing(path.name):
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _frame(view: View) -> dict[str, object]:
    camera = view.posed_camera
    intrinsics = camera.intrinsics
    world_from_camera_gl = camera.world_from_camera @ frames.CAMERA_GL_FROM_CAMERA.to(camera.world_from_camera)
    return {
        "file_path": view.photo_path or view.name,
        "w": intrinsics.width_px,
        "h": intrinsics.height_px,
        "fl_x": intrinsics.focal_x_px,
        "fl_y": intrinsics.focal_y_px,
        "cx": intrinsics.principal_x_px,
        "cy": intrinsics.principal_y_px,
        "transform_matrix": (world_from_camera_gl + 0.0).tolist(),
    }
