"""A stand-in for the part of ReconViaGen that the adapter touches: it "generates" a ball in a frame of its own.

Written for these tests; no networks, the same interface, which tests/gpu compares with the real one.
"""

import json
import os
from typing import Any, Literal

import flash_attn  # what the adapter must provide under this name
import spconv.pytorch as spconv
import torch
import utils3d  # noqa: F401 - a module that a mesh does not need
from dreamsim import dreamsim
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import AutoModelForImageSegmentation
from wheels.vggt.vggt.models.vggt import VGGT

print("upstream talks while it is imported")  # noqa: T201 - as the real one does


class Part(torch.nn.Module):
    """A network of one tensor."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(size))

    def forward(self, *_: Any) -> torch.Tensor:
        return self.weight


class SparseStructureDecoder(Part):
    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return latent


class SLatMeshDecoder(Part):
    def forward(self, voxels: torch.Tensor) -> list["MeshExtractResult"]:
        vertices, faces, attributes = ball_mesh()
        return [MeshExtractResult(vertices * self.weight[0], faces[: len(faces) * bool(self.weight[0])], attributes)]


class MeshExtractResult:
    def __init__(self, vertices: torch.Tensor, faces: torch.Tensor, vertex_attrs: torch.Tensor) -> None:
        self.vertices, self.faces, self.vertex_attrs, self.success = vertices, faces, vertex_attrs, len(faces) > 0


def ball_mesh() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A ball of radius 0.4, turned, with colours that name directions."""
    rows, columns = 40, 80
    polar = torch.linspace(0, torch.pi, rows + 1)[:, None].expand(-1, columns)
    around = torch.linspace(0, 2 * torch.pi, columns + 1)[:-1].expand(rows + 1, -1)
    directions = torch.stack([polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos()], -1)
    index = torch.arange((rows + 1) * columns).view(rows + 1, columns)
    a, b = index[:-1], index[1:]
    c, d = b.roll(-1, 1), a.roll(-1, 1)
    faces = torch.cat([torch.stack([a, b, c], -1).view(-1, 3), torch.stack([a, c, d], -1).view(-1, 3)])
    vertices = 0.4 * directions.reshape(-1, 3)
    colours = torch.cat([directions.reshape(-1, 3) / 2 + 0.5, directions.reshape(-1, 3)], 1)
    return vertices, faces, colours


CLASSES = {"SparseStructureDecoder": SparseStructureDecoder, "SLatMeshDecoder": SLatMeshDecoder}


class TrellisVGGTTo3DPipeline:
    default_image_resolution = 518

    def __init__(self) -> None:
        self.models: dict[str, torch.nn.Module] = {}
        self.runs = 0

    @staticmethod
    def from_pretrained(path: str) -> "TrellisVGGTTo3DPipeline":
        pipeline = TrellisVGGTTo3DPipeline()
        with open(f"{path}/pipeline.json") as stream:
            arguments = json.load(stream)["args"]
        for key, name in arguments["models"].items():
            with open(f"{path}/{name}.json") as stream:
                config = json.load(stream)
            model = CLASSES.get(config["name"], Part)(**config["args"])
            model.load_state_dict(load_file(f"{path}/{name}.safetensors"), strict=False)
            pipeline.models[key] = model
        pipeline.VGGT_model = VGGT.from_pretrained("Stable-X/vggt-object-v0-1")
        del pipeline.VGGT_model.depth_head
        del pipeline.VGGT_model.track_head
        pipeline.birefnet_model = AutoModelForImageSegmentation.from_pretrained("ZhengPeng7/BiRefNet")
        pipeline.models["image_cond_model"] = torch.hub.load(
            "facebookresearch/dinov2", arguments["image_cond_model"], pretrained=True
        )
        os.makedirs("weights", exist_ok=True)
        pipeline.dreamsim_model, _ = dreamsim(pretrained=True, cache_dir="weights/dreamsim")
        pipeline.low_vram, pipeline._device = False, None
        return pipeline

    def vggt_feat(self, image: torch.Tensor | list) -> list:  # type: ignore[type-arg]
        return self.VGGT_model.aggregator(image)

    def encode_image(self, image: torch.Tensor | list, w_layernorm=True) -> torch.Tensor:  # type: ignore[no-untyped-def, type-arg]
        return self.models["image_cond_model"](image)

    def run(
        self,
        image: torch.Tensor | list,  # type: ignore[type-arg]
        coords: torch.Tensor = None,
        num_samples: int = 1,
        seed: int = 42,
        sparse_structure_sampler_params: dict = {},  # type: ignore[type-arg]  # noqa: B006
        slat_sampler_params: dict = {},  # type: ignore[type-arg]  # noqa: B006
        formats: list[str] = ["mesh"],  # noqa: B006
        preprocess_image: bool = True,
        mode: Literal["stochastic", "multidiffusion"] = "stochastic",
    ) -> Any:
        torch.manual_seed(seed)
        assert all(callable(getattr(flash_attn, name)) for name in ("flash_attn_func", "flash_attn_varlen_func"))
        assert spconv.SubMConv3d is not None
        assert all(picture.size == (518, 518) and picture.mode == "RGBA" for picture in image)
        self.vggt_feat(image)
        self.encode_image(image)
        self.models["sparse_structure_vggt_cond"]()
        for _ in tqdm(range(sparse_structure_sampler_params["steps"]), desc="Sampling"):
            self.models["sparse_structure_flow_model"]()
        occupancy = torch.randn(1, 1, 4, 4, 4) * self.models["sparse_structure_decoder"].weight[0]
        coords = torch.argwhere(self.models["sparse_structure_decoder"](occupancy) > 0)
        self.models["slat_vggt_cond"]()
        for _ in tqdm(range(slat_sampler_params["steps"])):
            self.models["slat_flow_model"]()
        return {"mesh": self.models["slat_decoder_mesh"](coords)}, coords, occupancy
