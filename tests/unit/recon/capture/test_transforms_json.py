"""recon.capture.transforms_json and the typed fields it reads through."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture.layout import find_layout, find_manifest
from recon.capture.listing import Listing
from recon.capture.manifest import Lens
from recon.errors import InvalidCameras, WrongViewCount

IDENTITY = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
WHOLE = {
    "camera_model": "OPENCV",
    "fl_x": 500.0,
    "fl_y": 510.0,
    "cx": 320.5,
    "cy": 241.0,
    "w": 640,
    "h": 480,
    "k1": 0.1,
    "p2": -0.01,
    "depth_unit_scale_factor": 0.001,
    "frames": [
        {"file_path": f"images/{i}.png", "depth_file_path": f"depth/{i}.png", "transform_matrix": IDENTITY}
        for i in range(3)
    ],
}
NAMES = ["transforms.json", *[f"{folder}/{i}.png" for folder in ("images", "depth") for i in range(3)]]


def read(content, names=NAMES, view_count=None):
    """The manifest of a folder whose transforms.json has this content (a record, text or bytes)."""
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    return find_manifest(Listing(names), lambda name: content, view_count)


def layout(content, names=NAMES, view_count=None):
    return find_layout(names, lambda name: json.dumps(content).encode(), view_count)


def changed(**values):
    """The whole record with some top-level keys changed; None removes one."""
    record = {**copy.deepcopy(WHOLE), **values}
    return {key: value for key, value in record.items() if value is not None}


def frame_changed(index, **values):
    """The whole record with keys of one frame changed; None removes one."""
    record = copy.deepcopy(WHOLE)
    record["frames"][index].update(values)
    record["frames"][index] = {key: value for key, value in record["frames"][index].items() if value is not None}
    return record


def test_every_stated_value_arrives():
    """Intrinsics, lens, matrix, depth unit and files are exactly what the file says."""
    view = read(WHOLE).views[1]
    camera = view.camera
    assert (view.files.colour, view.files.depth, view.depth_unit_m) == ("images/1.png", "depth/1.png", 0.001)
    assert (camera.size_px, camera.focal_px, camera.principal_px) == ((640, 480), (500.0, 510.0), (320.5, 241.0))
    assert camera.lens == Lens(k1=0.1, p2=-0.01)
    assert (camera.axes, camera.is_camera_from_world) == ("opengl", False)
    assert [list(row) for row in camera.transform] == IDENTITY


def test_a_frame_overrides_the_file():
    """Intrinsics of one frame win over the top-level ones, for that frame only."""
    manifest = read(frame_changed(2, fl_x=700.0, k1=0.0))
    assert [view.camera.focal_px[0] for view in manifest.views] == [500.0, 500.0, 700.0]
    assert [view.camera.lens.k1 for view in manifest.views] == [0.1, 0.1, 0.0]


def test_field_of_view_replaces_the_focal_length():
    """camera_angle_x alone is enough, also without a stated size."""
    record = changed(fl_x=None, fl_y=None, w=None, h=None, cx=None, cy=None, camera_angle_x=0.9)
    camera = read(record).views[0].camera
    assert (camera.focal_px, camera.size_px, camera.principal_px) == (None, None, None)
    assert camera.field_of_view_x_rad == 0.9


def test_one_focal_length_serves_both_axes():
    """Without fl_y the pixels are square."""
    assert read(changed(fl_y=None)).views[0].camera.focal_px == (500.0, 500.0)


@pytest.mark.parametrize("written", ["images/0", "./images/0", "./images/0.png", "images\\0.png", "IMAGES/0.PNG"])
def test_paths_are_found_as_other_programs_write_them(written):
    """No file type (NeRF-synthetic), a leading ./, backslashes and other case all name the same file."""
    assert read(frame_changed(0, file_path=written)).views[0].files.colour == "images/0.png"


def test_depth_path_is_another_name_for_depth_file_path():
    """Some writers use depth_path."""
    manifest = read(frame_changed(0, depth_file_path=None, depth_path="depth/0.png"))
    assert manifest.views[0].files.depth == "depth/0.png"


def test_files_still_to_come_are_named_once():
    """What the manifest names and the folder lacks is missing, each path once."""
    found = layout(WHOLE, ["transforms.json", "images/0.png", "depth/2.png"])
    assert found.missing == ("depth/0.png", "images/1.png", "depth/1.png", "images/2.png")


def test_a_frame_may_lack_depth():
    """A photograph without depth is a view, and nothing is missing."""
    found = layout(frame_changed(1, depth_file_path=None), [name for name in NAMES if name != "depth/1.png"])
    assert found.missing == ()
    assert found.views[1].depth is None


@pytest.mark.parametrize("end", range(0, 600, 23))
def test_a_half_written_file_is_still_arriving(end):
    """A text that ends too early is waited for, not refused."""
    text = json.dumps(WHOLE)[:end]
    manifest = read(text.encode() + bytes(40))
    assert (manifest.views, manifest.missing) == ((), ("transforms.json",))


@pytest.mark.parametrize("text", ['{"frames": [}', "[1, 2]", "not json at all {", '{"frames" 3, "w": 1}'])
def test_malformed_text_is_refused(text):
    """A text that no further byte can mend is an error that names the file."""
    with pytest.raises(InvalidCameras) as caught:
        read(text)
    assert caught.value.file == "transforms.json"


def test_text_that_is_not_unicode_is_refused():
    """Latin-1 bytes are named as such instead of ending in a traceback."""
    with pytest.raises(InvalidCameras, match="UTF-8"):
        read(b'{"a": "\xe9tude", "b": 1}')


def test_deep_nesting_is_refused():
    """A file made to exhaust the parser's stack ends in an error of ours."""
    with pytest.raises(InvalidCameras):
        read('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")


def test_a_byte_order_mark_is_no_fault():
    """Editors on Windows put one in front."""
    assert len(read(b"\xef\xbb\xbf" + json.dumps(WHOLE).encode()).views) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fl_x", 0), ("fl_x", -5), ("fl_x", "500"), ("fl_x", float("nan")), ("fl_x", True), ("fl_y", float("inf")),
        ("fl_x", 10**400), ("cx", "left"), ("cy", [1]), ("w", 0), ("w", 640.5), ("h", -480), ("k1", float("nan")),
        ("k2", "x"), ("k3", {}), ("p1", float("inf")), ("p2", []), ("k4", 0.1), ("camera_model", "OPENCV_FISHEYE"),
        ("camera_model", 7), ("depth_unit_scale_factor", 0), ("depth_unit_scale_factor", "mm"), ("frames", None),
        ("frames", {}), ("frames", [1]), ("fl_y", 0), ("cx", None), ("cy", None), ("h", "tall"), ("p2", "x"),
    ],
)  # fmt: skip
def test_each_wrong_top_level_value_is_named(key, value):
    """A value that cannot be used is refused, and the message says which key it is."""
    record = copy.deepcopy(WHOLE)
    record[key] = value
    with pytest.raises(InvalidCameras) as caught:
        read(json.dumps(record))
    assert caught.value.details["key"] == key
    assert key in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file_path", None), ("file_path", ""), ("file_path", 3), ("file_path", "../0.png"),
        ("file_path", "/etc/0.png"),
        ("file_path", "C:\\0.png"), ("depth_file_path", "../../x.png"), ("mask_path", 5), ("transform_matrix", None),
        ("transform_matrix", "identity"), ("transform_matrix", IDENTITY[:2]), ("transform_matrix", [[1, 0, 0]] * 4),
        ("transform_matrix", [[2.0, 0, 0, 0], *IDENTITY[1:]]),
        ("transform_matrix", [[-1.0, 0, 0, 0], *IDENTITY[1:]]),
        ("transform_matrix", [[1.0, 0.2, 0, 0], *IDENTITY[1:]]),
        ("transform_matrix", [[math.nan, 0, 0, 0], *IDENTITY[1:]]),
        ("transform_matrix", [[1.0, 0, 0, math.inf], *IDENTITY[1:]]),
        ("transform_matrix", [*IDENTITY[:3], [0, 0, 0.1, 1]]),
    ],
)  # fmt: skip
def test_each_wrong_frame_value_is_named(key, value):
    """A wrong entry of one frame is refused with the frame's number and the key."""
    with pytest.raises(InvalidCameras) as caught:
        read(frame_changed(1, **{key: value}))
    assert caught.value.details == {"entry": "frame 1", "key": key}
    assert "frame 1" in caught.value.message


@pytest.mark.parametrize("value", [0, -1, math.pi, 4, "60", math.nan, [1]])
def test_a_wrong_field_of_view_is_named(value):
    """An angle that no lens has is refused with its key."""
    with pytest.raises(InvalidCameras) as caught:
        read(changed(fl_x=None, camera_angle_x=value))
    assert caught.value.details["key"] == "camera_angle_x"


@pytest.mark.parametrize("value", [0, -0.001, "mm", math.inf, []])
def test_a_wrong_integer_depth_scale_is_named(value):
    """instant-ngp's unit is held to the same as nerfstudio's."""
    with pytest.raises(InvalidCameras) as caught:
        read(changed(depth_unit_scale_factor=None, integer_depth_scale=value))
    assert caught.value.details["key"] == "integer_depth_scale"


@pytest.mark.parametrize("value", ["../0.png", "/etc/0.png", 5])
def test_a_wrong_depth_path_is_named(value):
    """The other name for depth_file_path leads nowhere else either."""
    with pytest.raises(InvalidCameras) as caught:
        read(frame_changed(1, depth_file_path=None, depth_path=value))
    assert caught.value.details == {"entry": "frame 1", "key": "depth_path"}


@pytest.mark.parametrize("count", [2, 64])
def test_two_to_sixty_four_views_are_read(count):
    """The fewest and the most that a manifest may name."""
    assert len(layout(changed(frames=[WHOLE["frames"][0]] * count)).views) == count


def test_width_without_height_is_refused():
    """Half a size is no size."""
    with pytest.raises(InvalidCameras, match="h is missing"):
        read(changed(h=None))


def test_no_focal_length_at_all_is_refused():
    """A camera needs fl_x or camera_angle_x."""
    with pytest.raises(InvalidCameras, match="fl_x"):
        read(changed(fl_x=None))


def test_the_asked_view_count_must_agree():
    """views = 6 with a manifest of three is a contradiction that is reported."""
    assert len(layout(WHOLE, view_count=3).views) == 3
    with pytest.raises(WrongViewCount):
        layout(WHOLE, view_count=6)


@pytest.mark.parametrize("count", [0, 1, 65])
def test_too_few_and_too_many_views_are_refused(count):
    """Two to sixty-four views are possible."""
    with pytest.raises(WrongViewCount):
        layout(changed(frames=[WHOLE["frames"][0]] * count))


ANY_KEY = st.sampled_from([*WHOLE, *WHOLE["frames"][0]])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_KEY, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(ANY_JSON)
def test_any_json_is_read_or_refused(value):
    """Whatever JSON a file holds, the outcome is a manifest or CAMERAS_INVALID, never another exception."""
    try:
        manifest = read(json.dumps({**WHOLE, "frames": value}))
    except InvalidCameras:
        return
    assert manifest.kind == "transforms_json"
