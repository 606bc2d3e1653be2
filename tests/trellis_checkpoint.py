"""Random weights for the real ReconViaGen code, in the layout and file formats of the released ones.

``write_weights`` builds upstream's own classes, fills every tensor at random (their zero-initialised layers would
make the output degenerate) and saves them as the pipeline expects to find them.  ``TINY`` has few channels and runs
in a second; ``FULL`` has the released architecture's sizes.  DINOv2, whose code is not part of the checkout, is
replaced by a small hub folder whose network has the same interface, tiny or of ViT-L's size.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recon.generative.installation import DINO_DIR, PIPELINE_DIR, VGGT_DIR

DINO_ENTRY = "dinov2_vitl14_reg"

SAMPLER = {
    "name": "FlowEulerGuidanceIntervalSampler",
    "args": {"sigma_min": 1e-5},
    "params": {"steps": 25, "cfg_strength": 5.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0},
}


@dataclass(frozen=True)
class Size:
    """Constructor arguments by model key, and whether VGGT and DINOv2 are the real size."""

    models: dict[str, tuple[str, dict[str, Any]]]
    dino_blocks: int
    has_real_vggt: bool


def _size(channels: int, blocks: int, is_full: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    half = {"use_fp16": True} if is_full else {}
    heads = 16 if is_full else 2
    flow = {"in_channels": 8, "out_channels": 8, "model_channels": channels, "num_blocks": blocks, "num_heads": heads}
    flow |= {"mlp_ratio": 4 if is_full else 2, "pe_mode": "ape", "qk_rms_norm": True, **half}
    attention = {"num_heads": heads, "mlp_ratio": 4 if is_full else 2, "qk_rms_norm": True, "qk_rms_norm_cross": True}
    return {
        "sparse_structure_flow_model": (
            "SparseStructureFlowModel",
            {**flow, "resolution": 16 if is_full else 8, "cond_channels": channels, "patch_size": 1},
        ),
        "sparse_structure_decoder": (
            "SparseStructureDecoder",
            {
                "out_channels": 1,
                "latent_channels": 8,
                "num_res_blocks": 2 if is_full else 1,
                "num_res_blocks_middle": 2 if is_full else 1,
                "channels": [512, 128, 32] if is_full else [16, 8],
                **half,
            },
        ),
        "sparse_structure_vggt_cond": (
            "ModulatedMultiViewCond",
            {"channels": channels, "ctx_channels": 3072, "num_init_tokens": 4096 if is_full else 16, **attention},
        ),
        "slat_flow_model": (
            "SLatFlowModel",
            {
                **flow,
                "resolution": 64 if is_full else 16,
                "cond_channels": 1024,
                "patch_size": 2,
                "num_io_res_blocks": 2 if is_full else 1,
                "io_block_channels": [128] if is_full else [16],
            },
        ),
        "slat_vggt_cond": ("ModulatedSLATMultiViewCond", {"channels": 1024, "ctx_channels": 3072}),
        "slat_decoder_mesh": (
            "SLatMeshDecoder",
            {
                "resolution": 64 if is_full else 16,
                "model_channels": 768 if is_full else 256,
                "latent_channels": 8,
                "num_blocks": 12 if is_full else 1,
                "num_heads": 12 if is_full else 4,
                "mlp_ratio": 4 if is_full else 2,
                "attn_mode": "swin",
                "window_size": 8,
                "representation_config": {"use_color": True},
                **half,
            },
        ),
    }


TINY = Size(_size(32, 1, False), dino_blocks=0, has_real_vggt=False)
FULL = Size(_size(1024, 24, True), dino_blocks=24, has_real_vggt=True)


def write_weights(
    weights_dir: Path, size: Size, models_module: Any, vggt_class: Any, device: torch.device, seed: int = 0
) -> None:
    """Write every file; call it while upstream's modules are active.

    Args:
        models_module: ``trellis.models``.
        vggt_class: The checkout's VGGT.
        device: Where the tensors are made.
    """
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    pipeline_dir = weights_dir / PIPELINE_DIR
    (pipeline_dir / "ckpts").mkdir(parents=True, exist_ok=True)
    for key, (name, arguments) in size.models.items():
        with device:
            model = getattr(models_module, name)(**arguments)
        state = _random_state(model)
        if (
            size is FULL and key == "slat_decoder_mesh"
        ):  # signed distances near zero: a smooth shell, as trained ones give
            state = {name: value * (0.01 if name.startswith("out_layer") else 1) for name, value in state.items()}
        save_file(state, str(pipeline_dir / "ckpts" / f"{key}.safetensors"))
        (pipeline_dir / "ckpts" / f"{key}.json").write_text(json.dumps({"name": name, "args": arguments}), "utf-8")
        del model
    models = {key: f"ckpts/{key}" for key in size.models} | {"slat_decoder_gs": "ckpts/absent"}
    document = {
        "name": "TrellisVGGTTo3DPipeline",
        "args": {
            "models": models,
            "sparse_structure_sampler": SAMPLER,
            "slat_sampler": SAMPLER,
            "slat_normalization": {"mean": [0.0] * 8, "std": [1.0] * 8},
            "image_cond_model": DINO_ENTRY,
        },
    }
    (pipeline_dir / "pipeline.json").write_text(json.dumps(document), "utf-8")
    (weights_dir / VGGT_DIR).mkdir(exist_ok=True)
    (weights_dir / VGGT_DIR / "config.json").write_text("{}", "utf-8")
    with device:
        vggt = vggt_class()
    state = {f"aggregator.{name}": value for name, value in _random_state(vggt.aggregator).items()}
    save_file(state, str(weights_dir / VGGT_DIR / "model.safetensors"))
    del vggt, state
    _write_dino(weights_dir, size, device)


def _random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of a trained network's size: products keep the scale of what goes in; norms stay near one."""
    state = {}
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            state[name] = value
        elif value.ndim < 2:
            is_gain = name.endswith(("norm.weight", "gamma", "weight")) and value.ndim == 1
            state[name] = 0.02 * torch.randn_like(value) + (1 if is_gain else 0)
        else:
            state[name] = torch.randn_like(value) * value[0].numel() ** -0.5
    return {name: value.contiguous().cpu() for name, value in state.items()}


DINO_CODE = '''
import torch

BLOCKS = {blocks}


class Dino(torch.nn.Module):
    """Patch embedding and as many blocks of ViT-L's size as asked for; tokens as DINOv2 with registers gives them."""

    def __init__(self):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(3, 1024, 14, 14)
        self.tokens = torch.nn.Parameter(torch.zeros(1, 5, 1024))
        layer = lambda: torch.nn.TransformerEncoderLayer(1024, 16, 4096, 0.0, batch_first=True, norm_first=True)
        self.blocks = torch.nn.ModuleList([layer() for _ in range(BLOCKS)])

    def forward(self, images, is_training=False):
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tokens.expand(len(patches), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return {{"x_prenorm": tokens}}


def {entry}(pretrained=True):
    model = Dino()
    if pretrained:
        url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth"
        model.load_state_dict(torch.hub.load_state_dict_from_url(url, map_location="cpu"))
    return model
'''


def _write_dino(weights_dir: Path, size: Size, device: torch.device) -> None:
    folder = weights_dir / DINO_DIR
    folder.mkdir(exist_ok=True)
    code = DINO_CODE.format(blocks=size.dino_blocks, entry=DINO_ENTRY)
    (folder / "hubconf.py").write_text(code, "utf-8")
    scope: dict[str, Any] = {}
    exec(compile(code, "hubconf.py", "exec"), scope)  # our own text, three lines up
    build: Callable[..., torch.nn.Module] = scope[DINO_ENTRY]
    with device:
        model = build(pretrained=False)
    torch.save(_random_state(model), weights_dir / "dinov2_vitl14_reg4_pretrain.pth")


TINY_VGGT_CODE = '''
import torch


class Aggregator(torch.nn.Module):
    """Tokens of VGGT's shape from one convolution: the real one has 900 million parameters whatever its arguments."""

    def __init__(self):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(3, 2048, 14, 14)

    def forward(self, images):
        batch, views = images.shape[:2]
        patches = self.patch_embed(images.flatten(0, 1)).flatten(2).transpose(1, 2)
        tokens = torch.nn.functional.pad(patches, (0, 0, 5, 0)).unflatten(0, (batch, views))
        return [tokens * (1 + layer / 24) for layer in range(24)], 5


class VGGT(torch.nn.Module):
    def __init__(self, img_size=518, patch_size=14, embed_dim=1024):
        super().__init__()
        self.aggregator = Aggregator()
        self.camera_head = self.point_head = self.depth_head = self.track_head = torch.nn.Identity()
'''


def link_checkout_with_tiny_vggt(checkout: Path, target: Path) -> None:
    """A checkout whose ``trellis`` is the real one and whose VGGT is a stand-in of the same interface."""
    models = target / "wheels" / "vggt" / "vggt" / "models"
    models.mkdir(parents=True)
    (target / "trellis").symlink_to(checkout.absolute() / "trellis")
    (models / "vggt.py").write_text(TINY_VGGT_CODE, "utf-8")
