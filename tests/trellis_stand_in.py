"""The in-repository stand-in of the ReconViaGen checkout, its weights, and the faults that weights can have."""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from recon.generative.installation import DINO_DIR, NEEDED_MODELS, PIPELINE_DIR, VGGT_DIR
from recon.settings import ReconViaGenInstallation, ReconViaGenSettings, Settings

STAND_IN_FILES = {
    "trellis/__init__.py": "",
    "trellis/pipelines/__init__.py": "from .trellis_image_to_3d import TrellisVGGTTo3DPipeline\n",
    "trellis/pipelines/trellis_image_to_3d.py": "trellis_image_to_3d.py",
    "wheels/vggt/vggt/models/vggt.py": "vggt.py",
}
"""Files of the checkout: a text, or the name of the file in tests/stand_in/ that is copied."""

_kept = tempfile.TemporaryDirectory(prefix="meshdrop-stand-in-")
STAND_IN_DIR = Path(_kept.name)
for _name, _source in STAND_IN_FILES.items():
    _file = Path(__file__).parent / "stand_in" / _source
    (STAND_IN_DIR / _name).parent.mkdir(parents=True, exist_ok=True)
    (STAND_IN_DIR / _name).write_text(_file.read_text("utf-8") if _file.is_file() else _source, "utf-8")

CLASS_OF = {"sparse_structure_decoder": "SparseStructureDecoder", "slat_decoder_mesh": "SLatMeshDecoder"}

DINO_CODE = """
import torch


def dinov2_vitl14_reg(pretrained=True):
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(2))
    model.forward = lambda images, is_training=False: model.weight
    url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth"
    model.load_state_dict(torch.hub.load_state_dict_from_url(url))
    return model
"""


def write_weights(weights_dir: Path) -> None:
    """Files in the released layout whose networks have one tensor each."""
    pipeline_dir = weights_dir / PIPELINE_DIR
    (pipeline_dir / "ckpts").mkdir(parents=True)
    for key in NEEDED_MODELS:
        config = {"name": CLASS_OF.get(key, "Part"), "args": {"size": 4}}
        (pipeline_dir / "ckpts" / f"{key}.json").write_text(json.dumps(config), "utf-8")
        save_file({"weight": torch.ones(4)}, str(pipeline_dir / "ckpts" / f"{key}.safetensors"))
    sampler = {"name": "FlowEulerGuidanceIntervalSampler", "args": {}, "params": {}}
    arguments = {
        "models": {key: f"ckpts/{key}" for key in NEEDED_MODELS} | {"slat_decoder_rf": "ckpts/never_loaded"},
        "sparse_structure_sampler": sampler,
        "slat_sampler": sampler,
        "slat_normalization": {"mean": [0.0] * 8, "std": [1.0] * 8},
        "image_cond_model": "dinov2_vitl14_reg",
    }
    (pipeline_dir / "pipeline.json").write_text(json.dumps({"name": "x", "args": arguments}), "utf-8")
    (weights_dir / VGGT_DIR).mkdir()
    (weights_dir / VGGT_DIR / "config.json").write_text('{"img_size": 518}', "utf-8")
    save_file({"aggregator.weight": torch.ones(3)}, str(weights_dir / VGGT_DIR / "model.safetensors"))
    (weights_dir / DINO_DIR).mkdir()
    (weights_dir / DINO_DIR / "hubconf.py").write_text(DINO_CODE, "utf-8")
    torch.save({"weight": torch.ones(2)}, weights_dir / "dinov2_vitl14_reg4_pretrain.pth")


def settings_for(weights: Path, /, **installation: object) -> Settings:
    """A quick run of the stand-in."""
    return Settings.model_validate(
        {
            "model": "reconviagen",
            "device": "cpu",
            "turntable": False,
            "target_faces": 2000,
            "nvdiffrec": {"fusion": {"grid_resolution": 48}},
            "reconviagen": ReconViaGenSettings(sparse_steps=3, latent_steps=2),
            "installation": ReconViaGenInstallation(source_dir=STAND_IN_DIR, weights_dir=weights).model_copy(
                update=installation
            ),
        }
    )


class Surroundings:
    """What upstream changes and nobody else may notice."""

    def __init__(self) -> None:
        self.path, self.environment, self.folder = list(sys.path), dict(os.environ), Path.cwd()
        self.hub = (torch.hub.load, torch.hub.load_state_dict_from_url)
        self.random = torch.random.get_rng_state()

    def assert_untouched(self) -> None:
        assert sys.path == self.path
        assert dict(os.environ) == self.environment
        assert Path.cwd() == self.folder
        assert (torch.hub.load, torch.hub.load_state_dict_from_url) == self.hub
        assert torch.equal(torch.random.get_rng_state(), self.random)
        names = {"trellis", "wheels", "vggt", "flash_attn", "spconv", "hubconf", "dreamsim", "utils3d", "transformers"}
        assert not [name for name in sys.modules if name.partition(".")[0] in names]
