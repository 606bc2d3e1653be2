"""The real ReconViaGen code on a card, with random weights in the released file formats.

Needs a checkout of the revision that ``recon.generative.installation`` names, in the folder that the configuration's
own variable ``MESHDROP_RECONVIAGEN__SOURCE_DIR`` names.  Weights are random: this shows that the code runs and what
it needs, nothing of how good the shapes are.
"""

import inspect
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import scenes
import trellis_checkpoint
from recon import reconstruct
from recon.export.pictures import COVERAGE_COLOURS
from recon.generative import attention, sparse_convolution
from recon.generative.installation import Installation
from recon.generative.upstream import UNUSED_MODULES, UpstreamModules
from recon.generative.views import model_picture
from recon.models.registry import create_model
from recon.scene import TEXEL_GENERATED, Capture
from recon.settings import ReconViaGenInstallation, ReconViaGenSettings, Settings
from trellis_stand_in import STAND_IN_DIR

pytestmark = [pytest.mark.gpu, pytest.mark.checkout]

CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def checkout() -> Path:
    return Path(os.environ["MESHDROP_RECONVIAGEN__SOURCE_DIR"])


@pytest.fixture(scope="module")
def installation(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> ReconViaGenInstallation:
    """The real code with VGGT replaced (it has a billion parameters whatever its arguments) and tiny weights."""
    folder = tmp_path_factory.mktemp("reconviagen")
    trellis_checkpoint.link_checkout_with_tiny_vggt(checkout, folder / "source")
    settings = ReconViaGenInstallation(source_dir=folder / "source", weights_dir=folder / "weights")
    modules = UpstreamModules(Installation(settings), settings)
    with modules.active():
        import trellis.models
        from trellis.pipelines import trellis_image_to_3d

        trellis_checkpoint.write_weights(
            folder / "weights", trellis_checkpoint.TINY, trellis.models, trellis_image_to_3d.VGGT, CUDA
        )
    return settings


@pytest.fixture(scope="module")
def capture() -> Capture:
    scene = scenes.toy()
    return scenes.make_capture(scene, scenes.cube6_cameras(scene, 128))


def settings_for(installation: ReconViaGenInstallation, **changes: object) -> Settings:
    samplers = ReconViaGenSettings(sparse_steps=4, latent_steps=3)
    return Settings(
        model="reconviagen", device="cuda", turntable=False, reconviagen=samplers,
        installation=installation.model_copy(update=changes),
    )  # fmt: skip


@pytest.mark.parametrize("low_vram", ["off", "on"])
def test_a_tiny_checkpoint_becomes_published_results(
    installation: ReconViaGenInstallation, capture: Capture, tmp_path: Path, low_vram: str
) -> None:
    """Upstream's from_pretrained and run, our registration and baking: a watertight mesh, its invention marked."""
    create_model.cache_clear()
    report = reconstruct(capture, tmp_path, settings_for(installation, low_vram=low_vram))
    (model,) = report.models
    assert model.quality.mesh.is_watertight
    assert model.quality.mesh.nonmanifold_edges == model.quality.mesh.nonmanifold_vertices == 0
    assert model.facts["low_vram"] is (low_vram == "on")
    assert model.facts["attention"] == "torch" or str(model.facts["attention"]).startswith("flash_attn")
    assert model.facts["sparse_convolution"] == "torch"
    assert model.quality.surface.filled_fraction == 0
    folder = tmp_path / "reconviagen"
    assert {path.name for path in folder.iterdir()} >= {
        "mesh.glb", "mesh.obj", "mesh.ply", "texture.png", "coverage.png", "quality.json", "cameras.json", "previews",
    }  # fmt: skip
    coverage = Image.open(folder / "coverage.png")
    shares = dict((value, count) for count, value in coverage.getcolors() or [])  # noqa: C402 - reversed
    assert (TEXEL_GENERATED in shares) == (model.quality.surface.generated_fraction > 0)
    assert TEXEL_GENERATED in COVERAGE_COLOURS
    text = json.dumps(json.loads((tmp_path / "report.json").read_text()))
    assert str(installation.weights_dir) not in text
    left = [name for name in sys.modules if name.partition(".")[0] in {"trellis", "wheels", "vggt", "flash_attn"}]
    assert not left


def test_a_second_job_finds_the_weights_loaded(
    installation: ReconViaGenInstallation, capture: Capture, tmp_path: Path
) -> None:
    """The same process, the same weights: nothing is loaded again; another seed gives another shape."""
    create_model.cache_clear()
    settings = settings_for(installation, low_vram="off")
    first = reconstruct(capture, tmp_path / "1", settings).models[0].facts
    second = reconstruct(capture, tmp_path / "2", settings).models[0].facts
    third = reconstruct(capture, tmp_path / "3", settings.model_copy(update={"seed": 7})).models[0].facts
    assert (first["was_warm"], second["was_warm"], third["was_warm"]) == (False, True, True)
    assert second["voxel_count"] == first["voxel_count"] != third["voxel_count"]
    create_model("reconviagen").release()
    assert torch.cuda.memory_allocated() < 1 << 29


def test_the_stand_in_has_upstreams_signatures(installation: ReconViaGenInstallation, checkout: Path) -> None:
    """What CPU tests run against takes the arguments that the real class takes, with the same defaults."""
    found = {}
    for source in (checkout, STAND_IN_DIR):
        settings = installation.model_copy(update={"source_dir": source})
        with UpstreamModules(Installation(settings), settings).active():
            from trellis.pipelines import TrellisVGGTTo3DPipeline as pipeline_class

            found[source] = {
                name: [
                    (item.name, item.kind, item.default)
                    for item in inspect.signature(getattr(pipeline_class, name)).parameters.values()
                ]
                for name in ("from_pretrained", "run", "vggt_feat", "encode_image")
            }
    assert found[STAND_IN_DIR] == found[checkout]


def test_our_pictures_are_upstreams(installation: ReconViaGenInstallation, capture: Capture) -> None:
    """The crop, padding and scaling of upstream's preprocess_image, to one step of 8 bits in a thousand pixels."""
    settings = installation
    with UpstreamModules(Installation(settings), settings).active():
        from trellis.pipelines import TrellisVGGTTo3DPipeline

        pipeline = TrellisVGGTTo3DPipeline()
        for view in capture.views:
            rgba = torch.cat([view.image_srgb, view.foreground_alpha[..., None]], -1)
            original = Image.fromarray((rgba * 255).round().to(torch.uint8).numpy(), "RGBA")
            theirs = torch.from_numpy(__import__("numpy").array(pipeline.preprocess_image(original))).int()
            ours = torch.from_numpy(__import__("numpy").array(model_picture(view))).int()
            different = (ours - theirs).abs().amax(-1)
            assert different.max() <= 1 or (different > 1).double().mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_attention_within_sequences_on_a_card(dtype: torch.dtype) -> None:
    """Unequal sequences attend to themselves only, as exactly as the precision allows."""
    torch.manual_seed(0)
    lengths = torch.tensor([0, 5, 70, 71, 300], device=CUDA, dtype=torch.int32)
    qkv = torch.randn(300, 3, 4, 32, device=CUDA, dtype=dtype)
    found = attention.flash_attn_varlen_qkvpacked_func(qkv, lengths, 229)
    tolerance = {torch.float32: 1e-3, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    for start, end in zip(lengths.tolist(), lengths.tolist()[1:], strict=False):
        q, k, v = qkv[start:end].double().transpose(0, 2).transpose(0, 1).unbind(0)
        expected = torch.softmax(q @ k.transpose(1, 2) / 32**0.5, -1) @ v
        assert (found[start:end].double() - expected.transpose(0, 1)).abs().max() < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 3e-3), (torch.bfloat16, 2e-2)])
def test_sparse_convolution_on_a_card(dtype: torch.dtype, tolerance: float) -> None:
    """At the voxels it equals a dense convolution in double precision."""
    torch.manual_seed(0)
    occupied = torch.rand(1, 20, 18, 22, device=CUDA) < 0.2
    indices = torch.nonzero(occupied).int()
    features = torch.randn(len(indices), 32, device=CUDA)
    voxels = sparse_convolution.SparseConvTensor(features.to(dtype), indices, [20, 18, 22], 1)
    layer = sparse_convolution.SubMConv3d(32, 48, 3).to(CUDA)
    dense = replace_features(voxels, features.double()).dense()
    weight = layer.weight.double().permute(0, 4, 1, 2, 3)
    expected = torch.nn.functional.conv3d(dense, weight, layer.bias.double(), padding=1)
    found = layer.to(dtype)(voxels).features
    batch, x, y, z = indices.long().unbind(1)
    error = (found.double() - expected[batch, :, x, y, z]).abs().max() / expected.abs().max()
    assert error < tolerance


def replace_features(
    voxels: sparse_convolution.SparseConvTensor, features: torch.Tensor
) -> sparse_convolution.SparseConvTensor:
    return voxels.replace_feature(features)


def test_unused_modules_are_not_left_behind(installation: ReconViaGenInstallation) -> None:
    """A stand-in is visible while upstream's modules are, and never after, also when the block fails."""
    modules = UpstreamModules(Installation(installation), installation)
    before, path, environment, folder = dict(sys.modules), list(sys.path), dict(os.environ), Path.cwd()

    def fail() -> None:
        with modules.active():
            import trellis.pipelines  # noqa: F401 - its import is the point

            assert "utils3d" in sys.modules
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (sys.path, dict(os.environ), Path.cwd()) == (path, environment, folder)
    assert {name: sys.modules.get(name) for name in UNUSED_MODULES} == {n: before.get(n) for n in UNUSED_MODULES}
