"""Submanifold sparse convolution in PyTorch, under the names that ReconViaGen takes from ``spconv.pytorch``.

The mesh path needs two things of spconv: a container for features at integer coordinates, and convolutions whose
outputs lie at their inputs' coordinates (Graham et al. 2018).  For each of the kernel's taps every voxel looks its
neighbour up in a sorted list of keys; the features found are gathered (a row of zeros where there is none) and
multiplied in one product.
"""

from types import ModuleType, SimpleNamespace

import torch

from recon.arrays import Int, Tensor

VOXELS_PER_PRODUCT = 1 << 16
"""Bounds the gathered features: taps times channels numbers a voxel."""

WARM_ATTRIBUTES = ("benchmark", "benchmark_record", "thrust_allocator", "_timer", "force_algo", "int8_scale")
"""Bookkeeping of spconv's container that upstream copies from one to the next; it means nothing here."""


class SparseConvTensor:
    """Features at voxels.

    Attributes:
        features: One row a voxel; may have further axes while upstream reshapes it.
        indices: (batch, x, y, z) per voxel.
        indice_dict: Shared by all tensors at the same voxels; keeps their neighbour maps.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - spconv's own signature
        self,
        features: Tensor,
        indices: Int[Tensor, "n 4"],
        spatial_shape: object,
        batch_size: int,
        grid: object = None,
        voxel_num: object = None,
        indice_dict: dict[str, object] | None = None,
    ) -> None:
        self._features, self.indices = features, indices
        self.spatial_shape, self.batch_size, self.grid, self.voxel_num = spatial_shape, batch_size, grid, voxel_num
        self.indice_dict = {} if indice_dict is None else indice_dict
        for name in WARM_ATTRIBUTES:
            setattr(self, name, None)

    @property
    def features(self) -> Tensor:
        return self._features

    @features.setter
    def features(self, value: Tensor) -> None:
        self._features = value

    def replace_feature(self, features: Tensor) -> "SparseConvTensor":
        """Other features at the same voxels."""
        return SparseConvTensor(
            features, self.indices, self.spatial_shape, self.batch_size, self.grid, self.voxel_num, self.indice_dict
        )

    def dense(self) -> Tensor:
        """All voxels, (batch, channels, x, y, z), zero where there is none."""
        sizes = [int(size) for size in self.spatial_shape]  # type: ignore[attr-defined]
        dense = self._features.new_zeros(self.batch_size, *sizes, self._features.shape[1])
        batch, x, y, z = self.indices.long().unbind(1)
        dense[batch, x, y, z] = self._features
        return dense.permute(0, 4, 1, 2, 3).contiguous()


class SubMConv3d(torch.nn.Module):
    """A convolution of odd kernel size whose outputs lie at its inputs' voxels.

    Args:
        in_channels, out_channels, kernel_size, dilation, bias: As in a dense convolution.
        indice_key, algo: spconv's; taken and not needed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - spconv's own signature
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
        algo: object = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"a submanifold convolution needs an odd kernel, got {kernel_size}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.dilation = kernel_size, dilation
        self.weight = torch.nn.Parameter(torch.empty(out_channels, *(kernel_size,) * 3, in_channels))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels)) if bias else None
        torch.nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, voxels: SparseConvTensor) -> SparseConvTensor:
        features = voxels.features
        if self.kernel_size == 1:
            weight = self.weight.view(self.out_channels, self.in_channels)
            return voxels.replace_feature(torch.nn.functional.linear(features, weight, self.bias))
        neighbours = self._neighbours(voxels)
        padded = torch.cat([features, features.new_zeros(1, self.in_channels)])
        weight = self.weight.view(self.out_channels, -1)
        rows = [
            torch.nn.functional.linear(padded[part].flatten(1), weight, self.bias)
            for part in neighbours.split(VOXELS_PER_PRODUCT)
        ]
        return voxels.replace_feature(torch.cat(rows))

    def _neighbours(self, voxels: SparseConvTensor) -> Int[Tensor, "n t"]:
        key = f"neighbours {self.kernel_size} {self.dilation}"
        cached = voxels.indice_dict.get(key)
        if isinstance(cached, tuple) and cached[0] is voxels.indices:
            found: Tensor = cached[1]
            return found
        neighbours = find_neighbours(voxels.indices, self.kernel_size, self.dilation)
        voxels.indice_dict[key] = (voxels.indices, neighbours)
        return neighbours


def find_neighbours(indices: Int[Tensor, "n 4"], kernel_size: int, dilation: int) -> Int[Tensor, "n t"]:
    """For every voxel the row of each neighbour under the kernel, n where there is none; taps with z fastest."""
    count, reach = indices.shape[0], kernel_size // 2 * dilation
    batch, position = indices[:, 0].long(), indices[:, 1:].long() + reach
    size_x, size_y, size_z = (position.amax(0) + reach + 1).tolist()  # a margin, so that steps cannot wrap around
    strides = torch.tensor([size_y * size_z, size_z, 1], device=indices.device)
    keys = batch * (size_x * size_y * size_z) + (position * strides).sum(1)
    sorted_keys, order = keys.sort()
    steps = torch.arange(-reach, reach + 1, dilation, device=indices.device)
    offsets = (torch.cartesian_prod(steps, steps, steps) * strides).sum(1)
    wanted = keys[:, None] + offsets
    place = torch.searchsorted(sorted_keys, wanted).clamp_max(count - 1)
    return torch.where(sorted_keys[place] == wanted, order[place], count)


def convolution_modules() -> dict[str, ModuleType]:
    """Modules to stand under the names ``spconv`` and ``spconv.pytorch``."""
    package, pytorch = ModuleType("spconv"), ModuleType("spconv.pytorch")
    package.__path__ = []
    for name, value in {
        "SparseConvTensor": SparseConvTensor,
        "SubMConv3d": SubMConv3d,
        "ConvAlgo": SimpleNamespace(Native=0, MaskImplicitGemm=1),
    }.items():
        setattr(pytorch, name, value)
    package.pytorch = pytorch  # type: ignore[attr-defined]
    return {"spconv": package, "spconv.pytorch": pytorch}
