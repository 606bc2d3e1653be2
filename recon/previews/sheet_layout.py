"""Where the tiles of the contact sheet lie, for the one who draws it and the one who cuts it up again."""

from dataclasses import dataclass

TILE_PX = 288
SMALL_TILE_PX = 176
MANY_VIEWS = 12
"""More views than this get small tiles."""

TILES_PER_VIEW = 3
"""Photograph, mesh, difference."""

COLUMNS = 2
GAP_PX = 10
CAPTION_PX = 30
HEADER_PX = 34


@dataclass(frozen=True)
class SheetLayout:
    """The contact sheet of so many views: one block of three tiles per view, in two columns."""

    view_count: int

    @property
    def tile_px(self) -> int:
        """Side of a tile."""
        return TILE_PX if self.view_count <= MANY_VIEWS else SMALL_TILE_PX

    @property
    def block_width_px(self) -> int:
        """Width of the three tiles of a view."""
        return TILES_PER_VIEW * self.tile_px + (TILES_PER_VIEW - 1) * GAP_PX

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        column_count = min(COLUMNS, self.view_count)
        row_count = (self.view_count + COLUMNS - 1) // COLUMNS
        width_px = GAP_PX + column_count * (self.block_width_px + 3 * GAP_PX) - 2 * GAP_PX
        return width_px, HEADER_PX + row_count * (self.tile_px + CAPTION_PX + GAP_PX) + GAP_PX

    def caption_corner_px(self, index: int) -> tuple[int, int]:
        """Left and top of a view's caption."""
        column, row = index % COLUMNS, index // COLUMNS
        left_px = GAP_PX + column * (self.block_width_px + 3 * GAP_PX)
        return left_px, HEADER_PX + row * (self.tile_px + CAPTION_PX + GAP_PX)

    def tiles_box_px(self, index: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of a view's three tiles, the gaps between them included."""
        left_px, caption_px = self.caption_corner_px(index)
        top_px = caption_px + CAPTION_PX
        return left_px, top_px, left_px + self.block_width_px, top_px + self.tile_px
