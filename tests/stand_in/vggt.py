"""A stand-in for VGGT: one tensor, the same interface."""

import torch
from huggingface_hub import PyTorchModelHubMixin


class VGGT(torch.nn.Module, PyTorchModelHubMixin):
    """An aggregator of one tensor, and the heads that the adapter leaves out."""

    def __init__(self, img_size=518, patch_size=14, embed_dim=1024):  # type: ignore[no-untyped-def]
        super().__init__()
        self.aggregator = Aggregator()
        self.camera_head = self.point_head = self.depth_head = self.track_head = torch.nn.Linear(2, 2)


class Aggregator(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3))

    def forward(self, images: list) -> list:  # type: ignore[type-arg]
        return [self.weight] * 24
