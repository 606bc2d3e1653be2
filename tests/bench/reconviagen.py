"""The full-size ReconViaGen with random weights on a card: seconds, GPU memory, loading, low-VRAM mode.

    MESHDROP_RECONVIAGEN__SOURCE_DIR=CHECKOUT python tests/bench/reconviagen.py WEIGHTS_DIR [CAPTURE]

Writes random weights of the released sizes to WEIGHTS_DIR (8 GB) unless they are there, then reconstructs CAPTURE
(default: the teapot in examples/) again and again through ``recon.reconstruct``.  What random weights generate is not
typical, so two things are put in its place, which leaves the networks' work as it is: a shell of about ten thousand
voxels instead of a sixth of all, and, for the stages that follow, the teapot's true surface (a million faces, turned,
scaled and swollen by up to 1 % here and there) instead of noise.  Speed and memory mean something; shapes do not.
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "examples"))

import teapot
import trellis_checkpoint
from recon import reconstruct
from recon.frames import rotation_from_vector
from recon.generative import keeper
from recon.generative.installation import Installation
from recon.generative.upstream import UpstreamModules
from recon.geometry.grid import enclosing_grid
from recon.geometry.isosurface import extract_surface
from recon.models.registry import create_model
from recon.remesh import keep_solid_pieces
from recon.settings import ReconViaGenInstallation, Settings

CUDA = torch.device("cuda")
SHOWN = ("load_s", "generate_s", "vggt_s", "image_cond_model_s", "sparse_structure_flow_model_s", "slat_flow_model_s",
         "slat_decoder_mesh_s", "voxel_count", "generated_face_count", "registration_inlier_fraction", "was_warm",
         "was_retried", "low_vram", "attention", "sparse_convolution")  # fmt: skip


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def ensure_weights(installation: ReconViaGenInstallation) -> None:
    assert installation.weights_dir is not None
    if any(Installation(installation).faults()):
        started_s = time.monotonic()
        with UpstreamModules(Installation(installation), installation).active():
            import trellis.models
            from trellis.pipelines import trellis_image_to_3d

            trellis_checkpoint.write_weights(
                installation.weights_dir, trellis_checkpoint.FULL, trellis.models, trellis_image_to_3d.VGGT, CUDA
            )
        torch.cuda.empty_cache()
        size = sum(file.stat().st_size for file in installation.weights_dir.rglob("*.*") if file.is_file())
        say(f"random weights written: {size / 1e9:.1f} GB in {time.monotonic() - started_s:.1f} s")
    for fault in Installation(installation).faults():
        say(f"fault: {fault}")


def shell(_: object, __: object, occupancy: torch.Tensor) -> torch.Tensor:
    """About ten thousand occupied voxels instead of what random weights give."""
    size = occupancy.shape[-1]
    steps = torch.arange(size, device=occupancy.device) - (size - 1) / 2
    radius = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).square().sum(0).sqrt()
    return (0.5 - (radius - 0.44 * size).abs()).expand_as(occupancy).to(occupancy.dtype)


def generated_teapot() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices, faces and colours as a good model would answer: in a frame of its own, not quite exact."""
    low, high = torch.tensor([-0.17, -0.12, -0.01]), torch.tensor([0.17, 0.12, 0.2])
    grid = enclosing_grid(low, high, 360)
    positions = grid.positions_world().double().numpy()
    field = torch.from_numpy(np.concatenate([teapot.signed_distance_m(part) for part in np.array_split(positions, 64)]))
    mesh = keep_solid_pieces(extract_surface(field.float().view(grid.shape) + 1e-9, grid))
    colours = torch.from_numpy(np.asarray(teapot.albedo_srgb(mesh.positions_world.double().numpy()))).float()
    waves = torch.sin(40 * mesh.positions_world).prod(1, keepdim=True)
    swollen = mesh.positions_world + 0.004 * waves * mesh.vertex_normals()
    turn = rotation_from_vector(torch.tensor([0.7, -1.1, 0.4]))
    middle = (swollen.amax(0) + swollen.amin(0)) / 2
    return (swollen - middle) @ turn.T * 2.6, mesh.faces, torch.cat([colours, torch.zeros_like(colours)], 1)


def typical(load: Any) -> Any:
    """A loader whose pipelines find a usual number of voxels and answer with the teapot."""
    vertices, faces, attributes = (item.cuda() for item in generated_teapot())
    say(f"stand-in for the generated mesh: {len(faces)} faces")

    def answer(_: object, __: object, meshes: list[Any]) -> list[Any]:
        meshes[0].vertices, meshes[0].faces, meshes[0].vertex_attrs = vertices, faces, attributes
        return meshes

    def load_typical(*arguments: Any) -> Any:
        pipeline = load(*arguments)
        pipeline.models["sparse_structure_decoder"].register_forward_hook(shell)
        pipeline.models["slat_decoder_mesh"].register_forward_hook(answer)
        return pipeline

    return load_typical


def run(capture: Path, settings: Settings, title: str) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with TemporaryDirectory() as folder:
        started_s = time.monotonic()
        report = reconstruct(capture, Path(folder), settings)
        total_s = time.monotonic() - started_s
    (model,) = report.models
    peak = max(torch.cuda.max_memory_allocated(), int(model.facts["peak_gpu_bytes"]))  # type: ignore[arg-type]
    say(
        f"\n{title}: {total_s:.2f} s from folder to files; peak allocated {peak / 2**30:.2f} GiB, run "
        f"{int(model.facts['peak_gpu_bytes']) / 2**30:.2f} GiB, reserved {torch.cuda.memory_reserved() / 2**30:.1f}"
    )  # type: ignore[arg-type]
    say("  stages: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in model.seconds_per_stage.items()))
    say("  facts: " + ", ".join(f"{name} {model.facts[name]}" for name in SHOWN))
    say(
        f"  mesh: watertight {model.quality.mesh.is_watertight}, "
        f"generated surface {model.quality.surface.generated_fraction:.2f}, {model.quality.mean.psnr_db:.1f} dB"
    )


def main() -> None:
    weights_dir = Path(sys.argv[1])
    capture = Path(sys.argv[2]) if len(sys.argv) > 2 else REPOSITORY / "examples" / "captures" / "teapot"
    installation = ReconViaGenInstallation(
        source_dir=Path(os.environ["MESHDROP_RECONVIAGEN__SOURCE_DIR"]), weights_dir=weights_dir
    )
    say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    ensure_weights(installation)
    keeper.load_pipeline = typical(keeper.load_pipeline)
    settings = Settings(model="reconviagen", installation=installation)
    for title in ("cold", "warm", "warm again"):
        run(capture, settings, title)
    create_model("reconviagen").release()
    run(capture, settings, "weights loaded again, from the page cache")
    create_model("reconviagen").release()
    low = settings.model_copy(update={"installation": installation.model_copy(update={"low_vram": "on"})})
    for title in ("low VRAM, loading", "low VRAM, warm"):
        run(capture, low, title)


if __name__ == "__main__":
    main()
