"""recon.capture.layout: which files a job needs, judged by names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture.layout import Layout, ViewFiles, find_layout
from recon.errors import WrongViewCount

CUBE = ("front", "back", "left", "right", "top", "bottom")
FLAT = [f"{role}_{index:02d}.png" for role in ("view", "depth") for index in range(6)]


def layout_of(names: list[str], view_count: int | None = None) -> Layout:
    """The layout of a folder without a camera file."""

    def refuse(name: str) -> bytes:
        raise AssertionError(f"{name} must not be read")

    return find_layout(names, refuse, view_count)


def test_flat_pairs_are_complete():
    """view_00 ... view_05 with their depths are six complete views in order."""
    layout = layout_of(FLAT)
    assert (layout.kind, layout.missing, layout.manifest) == ("flat_pairs", (), None)
    assert layout.views[5] == ViewFiles("view_05", "view_05.png", "depth_05.png", None)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(FLAT)))
def test_missing_and_present_make_the_whole(present):
    """Whatever has arrived of six flat pairs, exactly the rest is named as missing (once their style is known)."""
    styled = {"view_00.png", "depth_00.png"} | present
    assert set(layout_of(sorted(styled)).missing) == set(FLAT) - styled


@pytest.mark.parametrize("prefix", ["view", "rgb", "color", "colour", "image", "View", "RGB"])
@pytest.mark.parametrize("digits", [1, 2, 4])
def test_missing_names_follow_the_neighbours(prefix, digits):
    """The guess for a missing file copies prefix and number of digits from the files that are there."""
    names = [f"{prefix}_{index:0{digits}d}.jpg" for index in range(5)]
    names += [f"depth_{index:0{digits}d}.png" for index in range(6)]
    assert layout_of(names).missing == (f"{prefix}_{5:0{digits}d}.png",)


def test_numbering_may_start_at_one():
    """view_1 ... view_6 are six views, not seven with the first one missing."""
    names = [f"{role}_{index}.png" for role in ("view", "depth") for index in range(1, 7)]
    layout = layout_of(names)
    assert layout.missing == ()
    assert [view.name for view in layout.views] == [f"view_{index}" for index in range(1, 7)]


def test_an_empty_folder_asks_for_the_default_job():
    """Before anything has arrived, the twelve files of the plainest job are asked for."""
    layout = layout_of([])
    assert layout.kind == "unknown"
    assert set(layout.missing) == set(FLAT)


def test_view_count_sets_how_many_are_expected():
    """views = 2 in job.toml makes two pairs complete and six too many."""
    assert layout_of([name for name in FLAT if name[-5] in "01"], 2).missing == ()
    with pytest.raises(WrongViewCount):
        layout_of(FLAT, 2)


def test_two_files_for_one_view_are_refused():
    """view_00.png beside view_00.jpg leaves open which one is meant."""
    with pytest.raises(WrongViewCount) as caught:
        layout_of([*FLAT, "view_00.jpg"])
    assert caught.value.file == "view_00.png"


def test_cube_folders_keep_their_names_in_canonical_order():
    """The six sides come in one fixed order whatever the file system's order is."""
    names = [f"{folder}/{name}.png" for folder in ("depth_renders", "multi_views") for name in sorted(CUBE)]
    layout = layout_of(names)
    assert (layout.kind, layout.missing) == ("cube_folders", ())
    assert [view.name for view in layout.views] == list(CUBE)


def test_a_missing_side_of_the_cube_is_named():
    """Of a cube's twelve files the two that are not there are named exactly."""
    names = [f"{folder}/{name}.png" for folder in ("depth_renders", "multi_views") for name in CUBE]
    names.remove("multi_views/top.png")
    names.remove("depth_renders/left.png")
    assert set(layout_of(names).missing) == {"multi_views/top.png", "depth_renders/left.png"}


def test_a_seventh_side_is_refused():
    """An unknown name among the cube's sides is not quietly left out."""
    names = [f"{folder}/{name}.png" for folder in ("depth_renders", "multi_views") for name in (*CUBE, "inside")]
    with pytest.raises(WrongViewCount, match="inside"):
        layout_of(names)


@pytest.mark.parametrize("colour_folder", ["images", "rgb", "color"])
@pytest.mark.parametrize("depth_folder", ["depth", "depths"])
def test_two_folders_pair_by_stem(colour_folder, depth_folder):
    """Files of the same stem in a colour and a depth folder are one view."""
    names = [f"{colour_folder}/shot{index}.jpg" for index in range(6)]
    names += [f"{depth_folder}/shot{index}.png" for index in range(6)]
    layout = layout_of(names)
    assert (layout.kind, layout.missing) == ("two_folders", ())
    assert layout.views[3].depth == f"{depth_folder}/shot3.png"


@pytest.mark.parametrize(
    ("colour", "depth"),
    [("frame_0001", "depth_0001"), ("0001_rgb", "0001_depth"), ("color_0001", "0001"), ("a.b", "a.b")],
)
def test_the_role_in_a_name_does_not_prevent_pairing(colour, depth):
    """color_0001 and depth_0001 belong together: only what is left besides the role counts."""
    layout = layout_of([f"rgb/{colour}.png", f"depth/{depth}.png", "rgb/x.png", "depth/x.png"], 2)
    assert layout.missing == ()
    assert {(view.colour, view.depth) for view in layout.views} >= {(f"rgb/{colour}.png", f"depth/{depth}.png")}


def test_a_photograph_without_its_depth_is_missing_it():
    """In two folders the depth of an unpaired photograph is asked for under the photograph's stem."""
    names = [f"rgb/{index}.png" for index in range(6)] + [f"depth/{index}.png" for index in range(5)]
    assert layout_of(names).missing == ("depth/5.png",)


def test_files_whose_names_cannot_be_told_are_a_pattern():
    """While whole views are missing from two folders, the folders themselves are named."""
    assert layout_of(["rgb/a.png", "depth/a.png"], 2).missing == ("rgb/*", "depth/*")


def test_upper_case_names_are_found():
    """VIEW_00.PNG from a camera's card is as good as view_00.png, and keeps its spelling."""
    layout = layout_of([name.upper() for name in FLAT])
    assert layout.missing == ()
    assert layout.views[0].colour == "VIEW_00.PNG"


def test_a_decomposed_name_is_the_same_name():
    """A name that a Mac stored decomposed pairs with the composed one."""
    layout = layout_of(["rgb/e\u0301.png", "depth/\u00e9.png", "rgb/b.png", "depth/b.png"], 2)
    assert layout.missing == ()


@pytest.mark.parametrize("name", [".view_06.png", ".tmp/view_06.png", "results/x/view_06.png", "__MACOSX/view_06.png"])
def test_hidden_files_and_old_results_are_not_input(name):
    """Left-overs of copiers, archives and earlier runs change nothing."""
    assert layout_of([*FLAT, name]) == layout_of(FLAT)


def test_masks_are_paired_but_never_required():
    """mask_01.png joins view 1; the other views need none."""
    layout = layout_of([*FLAT, "mask_01.png"])
    assert [view.mask for view in layout.views] == [None, "mask_01.png", None, None, None, None]


def test_depth_may_be_floating_point_files():
    """EXR, NPY and TIFF depths complete a job like PNG ones."""
    names = [f"view_{index}.png" for index in range(3)] + ["depth_0.exr", "depth_1.npy", "depth_2.tiff"]
    assert layout_of(names, 3).missing == ()
