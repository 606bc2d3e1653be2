"""The geometry of the contact sheet."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from recon.previews.sheet_layout import CAPTION_PX, HEADER_PX, MANY_VIEWS, SheetLayout


@given(view_count=st.integers(1, 64))
def test_tiles_lie_inside_and_apart(view_count: int) -> None:
    """No two views share a pixel, every view has room for its caption, and all lie on the sheet."""
    layout = SheetLayout(view_count)
    width_px, height_px = layout.size_px
    boxes = [layout.tiles_box_px(index) for index in range(view_count)]
    for left, top, right, bottom in boxes:
        assert 0 < left < right < width_px
        assert HEADER_PX + CAPTION_PX <= top < bottom < height_px
    for (left, top, right, bottom), other in itertools.combinations(boxes, 2):
        assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_many_views_get_small_tiles() -> None:
    """One view more than the limit makes every tile smaller."""
    assert SheetLayout(MANY_VIEWS + 1).tile_px < SheetLayout(MANY_VIEWS).tile_px
