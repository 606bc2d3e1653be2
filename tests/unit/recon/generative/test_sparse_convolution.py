"""Submanifold convolution against a dense one."""

import pytest
import torch

from recon.generative.sparse_convolution import SparseConvTensor, SubMConv3d, convolution_modules, find_neighbours


def voxels(batch_size: int = 2) -> SparseConvTensor:
    occupied = torch.rand(batch_size, 6, 5, 7, generator=torch.Generator().manual_seed(0)) < 0.3
    indices = torch.nonzero(occupied).int()
    features = torch.randn(len(indices), 3, generator=torch.Generator().manual_seed(1))
    return SparseConvTensor(features, indices, [6, 5, 7], batch_size)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_it_equals_a_dense_convolution_at_the_voxels(kernel_size: int, dilation: int) -> None:
    """Empty neighbours count as zero; voxels at the borders and in other batches are not mixed up."""
    layer = SubMConv3d(3, 4, kernel_size, dilation=dilation)
    given = voxels()
    dense = torch.nn.functional.conv3d(
        given.dense(), layer.weight.permute(0, 4, 1, 2, 3), layer.bias, padding=kernel_size // 2 * dilation,
        dilation=dilation,
    )  # fmt: skip
    batch, x, y, z = given.indices.long().unbind(1)
    torch.testing.assert_close(layer(given).features, dense[batch, :, x, y, z], rtol=1e-4, atol=1e-5)


def test_neighbours_are_found_once() -> None:
    """The second convolution on the same voxels uses the first one's map; other voxels get their own."""
    layer, given = SubMConv3d(3, 3, 3), voxels()
    first = layer(given)
    (kept,) = given.indice_dict.values()
    second = layer(first)
    assert next(iter(second.indice_dict.values())) is kept
    moved = SparseConvTensor(given.features, given.indices.flip(0), [6, 5, 7], 2, indice_dict=given.indice_dict)
    torch.testing.assert_close(
        layer(moved).features, layer(SparseConvTensor(given.features, moved.indices, [6, 5, 7], 2)).features
    )


def test_the_middle_tap_is_the_voxel_itself() -> None:
    """Of 27 taps the fourteenth; a lone voxel has no other neighbour."""
    indices = torch.tensor([[0, 3, 3, 3], [0, 9, 9, 9], [0, 9, 9, 10]], dtype=torch.int32)
    found = find_neighbours(indices, 3, 1)
    assert found[:, 13].tolist() == [0, 1, 2]
    assert (found[0] == 3).sum() == 26
    assert found[1, 14] == 2
    assert found[2, 12] == 1


def test_even_kernels_are_refused() -> None:
    """They have no middle."""
    with pytest.raises(ValueError, match="odd kernel"):
        SubMConv3d(3, 3, 2)


def test_the_modules_have_the_names_that_upstream_imports() -> None:
    """spconv.pytorch with its container, its layer and its choice of algorithm."""
    modules = convolution_modules()
    assert modules["spconv"].pytorch is modules["spconv.pytorch"]
    assert modules["spconv.pytorch"].ConvAlgo.Native is not None
