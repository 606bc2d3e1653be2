"""The full-size ReconViaGen with random weights on a card: seconds, GPU memory, loading, low-VRAM mode.

    MESHDROP_RECONVIAGEN__SOURCE_DIR=CHECKOUT python tests/bench/reconviagen.py WEIGHTS_DIR [CAPTURE]

Writes random weights of the released sizes to WEIGHTS_DIR (8 GB) unless they are there, then reconstructs CAPTURE
(default: the teapot in examples/) again and again through ``recon.reconstruct``.  What random weights generate is not
typical, so two things are put in its place, which leaves the networks' work as it is: a shell of about ten thousand
voxels instead of a sixth of all, and, for the stages that follow, the teapot's true surface (a million faces, turned,
scaled and swollen by up to 1 % here and there) instead of noise.  Speed and memory mean something; shapes do not.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))
sys.path.insert(0, str(REPOSITORY / "tests"))

import trellis_checkpoint
import typical_shapes
from recon import reconstruct
from recon.generative.installation import Installation
from recon.generative.upstream import UpstreamModules
from recon.models.registry import create_model
from recon.settings import ReconViaGenInstallation, Settings
from served import served

CUDA = torch.device("cuda")
SHOWN = ("import_s", "load_s", "generate_s", "vggt_s", "image_cond_model_s", "sparse_structure_flow_model_s",
         "slat_flow_model_s", "slat_decoder_mesh_s", "peak_gpu_bytes", "voxel_count", "generated_face_count",
         "registration_inlier_fraction", "was_warm", "was_retried", "low_vram", "attention",
         "sparse_convolution")  # fmt: skip


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


def as_jobs(capture: Path, installation: ReconViaGenInstallation, count: int) -> None:
    """Jobs one after the other on a real daemon with a real worker process: seconds from claimed to published."""
    say(f"jobs of a new worker, low_vram = {installation.low_vram}")
    with TemporaryDirectory() as folder:
        base = Path(folder)
        tables = {
            "worker": {"entry": "recon:reconstruct", "preload": ["recon", "typical_shapes"]},
            "reconviagen": installation.model_dump(mode="json"),
        }
        with served(base, **tables) as share:
            share.until(lambda: share.supervisor.dispatch.executors[0].is_idle, 120)
            for number in range(count):
                name = f"job{number}"
                shutil.copytree(capture, base / name)
                (base / name / "job.toml").write_text('model = "reconviagen"\non_low_quality = "keep"\n')
                (base / name / "READY").touch()
                (base / name).rename(share.config.inbox / name)
                share.until(lambda name=name: not share.store.active() and name in share.states(), 300)  # type: ignore[misc]
                job = share.job(name)
                at_s = {event.to_state: event.at_s for event in share.store.events(job.job_id)}
                steps = ", ".join(f"{state} {at_s[state] - at_s['queued']:.2f}" for state in list(at_s)[1:])
                starts = share.supervisor.dispatch.executors[0].start_count
                say(f"job {number}, seconds since it was claimed: {steps} (worker starts {starts})")
                if job.state == "failed":
                    raise RuntimeError((share.config.failed / name / "error.json").read_text())
                quality = json.loads((share.config.done / name / "results/reconviagen/quality.json").read_text())
                say(f"  stages: {quality['seconds_per_stage']}")
                say("  facts: " + ", ".join(f"{fact} {quality['facts'][fact]}" for fact in SHOWN))


def directly(capture: Path, installation: ReconViaGenInstallation) -> None:
    """In this process, and with the weights loaded again from the page cache."""
    settings = Settings(model="reconviagen", installation=installation)
    for title in ("cold", "warm"):
        run(capture, settings, title)
    create_model("reconviagen").release()
    run(capture, settings, "weights loaded again, from the page cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights_dir", type=Path)
    parser.add_argument("capture", type=Path, nargs="?", default=REPOSITORY / "examples" / "captures" / "teapot")
    parser.add_argument("--direct", action="store_true")
    options = parser.parse_args()
    installation = ReconViaGenInstallation(
        source_dir=Path(os.environ["MESHDROP_RECONVIAGEN__SOURCE_DIR"]), weights_dir=options.weights_dir
    )
    say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    ensure_weights(installation)
    faces = typical_shapes.ensure_mesh(options.weights_dir / "typical.pt")
    say(f"stand-in for the generated mesh: {faces} faces")
    as_jobs(options.capture, installation, 4)
    as_jobs(options.capture, installation.model_copy(update={"low_vram": "on"}), 2)
    if options.direct:
        directly(options.capture, installation)


if __name__ == "__main__":
    main()
