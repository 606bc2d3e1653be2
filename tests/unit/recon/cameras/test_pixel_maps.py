"""Maps of views of any sizes, read at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recon.arrays import Float, Tensor
from recon.cameras.pixel_maps import PixelMaps, clamp_px, read

SIZES_PX = st.lists(st.sampled_from([(4, 6), (6, 4), (5, 5)]), min_size=1, max_size=7)


def ramps(height_px: int, width_px: int, offset: float) -> Float[Tensor, "2 h w"]:
    """x + offset and y of every pixel's centre."""
    ys, xs = torch.meshgrid(torch.arange(height_px) + 0.5, torch.arange(width_px) + 0.5, indexing="ij")
    return torch.stack([xs + offset, ys]).double()


@given(sizes_px=SIZES_PX, most=st.integers(0, 4))
def test_every_view_is_in_one_span(sizes_px: list[tuple[int, int]], most: int) -> None:
    """Spans follow one another, hold views of one size, no more than asked for, and their own maps."""
    maps = [ramps(*size, offset=100.0 * index) for index, size in enumerate(sizes_px)]
    stacked = PixelMaps.stacked(maps)
    spans = list(stacked.spans(most))
    assert [view for first, last in spans for view in range(first, last)] == list(range(len(maps)))
    for first, last in spans:
        assert last - first <= max(1, most)
        for view, layers in zip(range(first, last), stacked.of(first, last), strict=True):
            assert torch.equal(layers, maps[view])


def test_views_that_are_not_there_are_no_span() -> None:
    """Asking beyond the last view is an error."""
    with pytest.raises(IndexError):
        PixelMaps.stacked([ramps(4, 4, 0.0)]).of(1, 2)


@given(places=st.lists(st.tuples(st.floats(-3, 9), st.floats(-3, 9)), min_size=4, max_size=4))
def test_places_are_read_between_pixel_centres_and_clamped_at_the_border(places: list[tuple[float, float]]) -> None:
    """Ramps are read exactly between the centres of the outermost pixels; each view answers for its own rows."""
    maps = torch.stack([ramps(5, 6, 0.0), ramps(5, 6, 100.0)])
    pixels_px = torch.tensor(places, dtype=torch.float64).view(4, 1, 2)
    found = read(maps, pixels_px)
    offsets = torch.tensor([[0.0, 0.0], [0.0, 0.0], [100.0, 0.0], [100.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(found[:, 0] - offsets, clamp_px(maps, pixels_px)[:, 0], atol=1e-9)
