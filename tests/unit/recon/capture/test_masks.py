"""recon.capture.masks: which source decides what the object is."""

from dataclasses import replace

import pytest
import torch

import scenes
from recon.capture.masks import MaskSources, covers_only_object, find_masks, is_empty, resize_coverage
from recon.errors import InvalidOptions, ObjectNotFound
from recon.scene import Camera, DepthMap, Intrinsics
from table_scenes import cameras_above, depth_of_scene


def square(low, high, size_px=40):
    coverage = torch.zeros(size_px, size_px)
    coverage[low:high, low:high] = 1
    return coverage


IMAGE = torch.where(square(8, 32)[..., None] > 0, torch.tensor([0.8, 0.1, 0.1]), torch.tensor([1.0, 1.0, 1.0]))
EVERYTHING = MaskSources(
    "view_00", IMAGE, square(10, 30), square(12, 28), DepthMap(square(14, 26), square(14, 26) > 0), None
)

DEPTH_24 = DepthMap(square(9, 32), square(9, 32) > 0)
CAMERA = Camera(Intrinsics(40, 40, 50.0, 50.0, 20.0, 20.0), torch.eye(4, dtype=torch.float64))


def found(view, background="auto"):
    (mask,) = find_masks([view], background)
    return mask.source, int((mask.coverage > 0.5).sum())


def test_sources_are_tried_in_order():
    """Alpha beats mask file beats depth beats plain background; what is absent is passed over."""
    assert found(EVERYTHING) == ("alpha", 20**2)
    assert found(replace(EVERYTHING, alpha=None)) == ("mask", 16**2)
    assert found(replace(EVERYTHING, alpha=None, mask=None)) == ("depth", 12**2)
    assert found(replace(EVERYTHING, alpha=None, mask=None, depth=None)) == ("plain", 24**2)


@pytest.mark.parametrize(("background", "side"), [("alpha", 20), ("mask", 16), ("depth", 12), ("plain", 24)])
def test_the_setting_overrides_the_order(background, side):
    """settings.background takes exactly the source that it names."""
    assert found(EVERYTHING, background) == (background, side**2)


def test_a_photograph_beside_depth_without_cameras_keeps_its_own_outline():
    """Where the depth gives the mask and nobody states cameras, the photograph's outline (24 px) comes along."""
    (mask,) = find_masks([replace(EVERYTHING, alpha=None, mask=None, depth=DEPTH_24)], "auto")
    assert mask.source == "depth"
    assert mask.photo_coverage is not None
    assert float(((mask.photo_coverage > 0.5) != (square(8, 32) > 0)).float().mean()) < 0.02
    posed = replace(EVERYTHING, alpha=None, mask=None, depth=DEPTH_24, camera=CAMERA)
    assert find_masks([posed], "auto")[0].photo_coverage is None


@pytest.mark.parametrize("background", ["alpha", "mask", "depth", "table"])
def test_asking_for_an_absent_source_is_an_option_error(background):
    """The user asked for something that the folder does not hold; that is said, not silently replaced."""
    view = MaskSources("view_00", IMAGE, None, None, None, None)
    with pytest.raises(InvalidOptions, match=background):
        find_masks([view], background)


def test_depth_of_a_whole_scene_is_no_mask():
    """Depth that reaches the picture's border shows the table as well; the plain background decides instead."""
    everywhere = DepthMap(torch.ones(40, 40), torch.ones(40, 40, dtype=torch.bool))
    assert not covers_only_object(everywhere.valid_mask)
    assert found(replace(EVERYTHING, alpha=None, mask=None, depth=everywhere))[0] == "plain"


def table_views(is_last_empty=False):
    """Two views of a cube on a table before a plain wall, with the depth of the whole scene; and its true masks."""
    scene = scenes.cube()
    views, masks = [], []
    for index, camera in enumerate(cameras_above(scene)[:2]):
        depth, mask = depth_of_scene(scene, camera)
        if is_last_empty and index == 1:
            depth = DepthMap(depth.depth_z, depth.valid_mask & ~torch.from_numpy(mask))
        colours = torch.where(torch.from_numpy(mask)[..., None], torch.tensor([0.8, 0.1, 0.1]), torch.ones(3))
        views.append(MaskSources(f"view_{index:02d}", colours.float(), None, None, depth, None))
        masks.append(torch.from_numpy(mask))
    return views, masks


def test_without_cameras_every_view_finds_its_own_table():
    """Depth of the whole scene without cameras: the cube is cut from the table, not from the wall's plain colour."""
    views, true = table_views()
    masks = find_masks(views, "auto")
    assert [mask.source for mask in masks] == ["table", "table"]
    for mask, cube in zip(masks, true, strict=True):
        assert float(((mask.coverage > 0.5) != cube).float().mean()) < 0.005


def test_a_table_that_one_view_lacks_decides_in_none():
    """Views of one capture are cut in one way: where one shows an empty table, the plain background decides in all."""
    masks = find_masks(table_views(is_last_empty=True)[0], "auto")
    assert [mask.source for mask in masks] == ["plain", "plain"]


def test_pinholes_in_depth_are_part_of_the_object():
    """A single pixel that the sensor missed does not become a hole in the mask."""
    depth = DepthMap(square(14, 26), square(14, 26) > 0)
    depth.valid_mask[20, 20] = False
    assert found(replace(EVERYTHING, alpha=None, mask=None, depth=depth)) == ("depth", 12**2)


def test_an_empty_alpha_means_no_object():
    """A fully transparent photograph shows nothing, and the view is named."""
    with pytest.raises(ObjectNotFound) as caught:
        find_masks([EVERYTHING, replace(EVERYTHING, name="view_01", alpha=torch.zeros(40, 40))], "auto")
    assert caught.value.file == "view_01"


def test_no_source_at_all_means_no_object():
    """A cluttered photograph without alpha, mask or depth cannot be separated."""
    noise = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ObjectNotFound):
        find_masks([MaskSources("view_00", noise, None, None, None, None)], "auto")


def test_coverage_is_kept_when_resized():
    """Resizing a mask keeps the covered share of the picture, up and down."""
    coverage = square(10, 30)
    for side_px in (20, 80, 100):
        assert float(resize_coverage(coverage, side_px, side_px).mean()) == pytest.approx(0.25, abs=0.01)


def test_a_blot_is_an_empty_mask():
    """One stray pixel in a large picture is no object."""
    coverage = torch.zeros(200, 200)
    coverage[5, 5] = 1
    assert is_empty(coverage)
    assert not is_empty(square(10, 30))
