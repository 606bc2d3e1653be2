"""A folder as a depth camera fills it: photographs and depth of a whole scene, no cameras, no masks."""

import numpy as np
import pytest
import torch
from PIL import Image

import scenes
from recon import frames
from recon.cameras import solve_cameras
from recon.capture import load_capture
from recon.settings import Settings
from table_scenes import cameras_above, depth_of_scene

SIZE_PX = 160


def write_folder(folder, scene, cameras):
    """Photographs, and depth in tenths of a millimetre; returns the object's true masks."""
    masks = []
    for index, camera in enumerate(cameras):
        depth, mask = depth_of_scene(scene, camera)
        rendered = scenes.render(scene, camera, 1)
        wood = torch.tensor([0.55, 0.4, 0.25]) + 0.1 * torch.rand(1, SIZE_PX, 1, generator=torch.manual_seed(index))
        colours = torch.where(torch.from_numpy(mask)[..., None], rendered.image_srgb, wood)
        Image.fromarray((colours.clamp(0, 1) * 255).byte().numpy()).save(folder / f"view_{index:02d}.png")
        steps = (depth.depth_z * 1e4).round().clamp(0, 65535).numpy().astype(np.uint16)
        Image.fromarray(steps).save(folder / f"depth_{index:02d}.png")
        masks.append(mask)
    (folder / "capture.json").write_text('{"depth_unit_scale_factor": 0.0001}')
    return masks


@pytest.mark.slow
def test_an_object_on_a_table_is_found_and_its_cameras_are_solved(tmp_path):
    """The masks agree with the truth to an IoU of 0.97, the angles between the cameras to half a degree."""
    scene = scenes.toy()
    cameras = cameras_above(scene, SIZE_PX)
    true_masks = write_folder(tmp_path, scene, cameras)
    settings = Settings(rig="orbit", fov_deg=scenes.FIELD_OF_VIEW_DEG)
    capture = load_capture(tmp_path, settings)
    assert {view.mask_source for view in capture.views} == {"table"}
    for view, true in zip(capture.views, true_masks, strict=True):
        found = view.foreground_alpha.numpy() > 0.5
        assert (found & true).sum() / (found | true).sum() > 0.97
    solved = solve_cameras(capture, settings, torch.device("cpu"))
    assert solved.is_metric
    found_poses = torch.stack([view.posed_camera.world_from_camera for view in solved.views])
    true_poses = torch.stack([camera.world_from_camera for camera in cameras])
    for first in range(len(cameras)):
        between = [frames.invert_rigid(poses[first]) @ poses for poses in (found_poses, true_poses)]
        turn = between[0][:, :3, :3].transpose(1, 2) @ between[1][:, :3, :3]
        cosine = (turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
        assert float(torch.rad2deg(cosine.clamp(-1, 1).acos()).max()) < 0.5
