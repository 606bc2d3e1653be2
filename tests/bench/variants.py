"""What unknown cameras, wrong cameras and a background cost against the clean capture of the same object.

    python tests/bench/variants.py OBJECT --scorer "PYTHON SCORE.py" [--variants clean nocam pose background] [--json F]

OBJECT holds one folder a variant and ``truth/`` with ``mesh.glb``, ``cameras_VARIANT.json`` (transforms.json form) and,
where a variant has a background, ``inputs_VARIANT/mask_NN.png``.  Every variant goes through ``meshdrop run``; SCORE.py
compares ``mesh.obj`` with the truth (``SCORE.py RESULT TRUTH --capture VARIANT [--align rigid|similarity]``, a JSON
document with ``geometry.chamfer_mean_pct`` and ``heldout_views.mean.psnr_mask``).  The cameras' turn and shift and the
mask's overlap are the worst view's, the cameras' after one common rigid motion.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

import numpy as np
import torch
from PIL import Image

from recon import load_capture
from recon.cameras.rig_state import align_rigid
from recon.settings import Settings

ALIGNMENT = {"nocam": "similarity", "pose": "rigid"}
"""What no reconstruction can know from the files of these variants."""
_REACH_M = 0.1
"""Turns and shifts of a camera weigh alike in the alignment at this distance."""
HEADER = "variant      Chamfer%  of clean  held-out dB  turn deg  shift mm  mask IoU  cameras s  total s\n"


def run_variant(source: Path, output: Path) -> dict[str, Any]:
    """Reconstruct a folder as a user does; the report."""
    subprocess.run(
        [sys.executable, "-m", "daemon", "run", source, "-o", output], cwd=REPOSITORY, check=True, stdout=sys.stderr
    )
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def score_variant(scorer: str, output: Path, truth: Path, source: Path) -> dict[str, Any]:
    words = [*shlex.split(scorer), output / "nvdiffrec" / "mesh.obj", truth, "--capture", source]
    align = ALIGNMENT.get(source.name)
    answer = subprocess.run(
        [*words, *(["--align", align] if align else [])], check=True, capture_output=True, text=True
    )
    scores: dict[str, Any] = json.loads(answer.stdout)
    return scores


def camera_errors(found: Path, truth: Path) -> tuple[float, float]:
    """Worst turn in degrees and worst shift in millimetres."""
    ours, theirs = _poses(found), _poses(truth)
    true_from_found = align_rigid(_frame_points(ours), _frame_points(theirs))
    moved = true_from_found @ ours
    turn = moved[:, :3, :3].transpose(1, 2) @ theirs[:, :3, :3]
    cosine = ((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    shift_m = (moved[:, :3, 3] - theirs[:, :3, 3]).norm(dim=1)
    return float(torch.rad2deg(cosine.arccos()).max()), 1000 * float(shift_m.max())


def _poses(path: Path) -> torch.Tensor:
    frames = sorted(json.loads(path.read_text())["frames"], key=lambda frame: frame["file_path"])
    return torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float64)


def _frame_points(poses: torch.Tensor) -> torch.Tensor:
    centres = poses[:, None, :3, 3]
    return torch.cat([centres, centres + _REACH_M * poses[:, :3, :3].transpose(1, 2)], 1).reshape(-1, 3)


def lowest_mask_iou(source: Path, truth: Path) -> float | None:
    """Of the masks found against the true ones, the worst view's; None where there are no true ones."""
    masks = sorted((truth / f"inputs_{source.name}").glob("mask_*.png"))
    if not masks:
        return None
    shares = []
    for view, path in zip(load_capture(source, Settings()).views, masks, strict=True):
        found, true = view.foreground_alpha.numpy() > 0.5, np.asarray(Image.open(path).convert("L")) > 127
        shares.append(float((found & true).sum() / (found | true).sum()))
    return min(shares)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one variant."""
    source, truth = arguments.object / name, arguments.object / "truth"
    with tempfile.TemporaryDirectory() as folder:
        report = run_variant(source, Path(folder))
        scores = score_variant(arguments.scorer, Path(folder), truth, source)
        errors = camera_errors(Path(folder) / "nvdiffrec" / "cameras.json", truth / f"cameras_{name}.json")
    seconds = report["models"][0]["seconds_per_stage"]
    return {
        "variant": name,
        "chamfer_percent": scores["geometry"]["chamfer_mean_pct"],
        "held_out_db": scores["heldout_views"]["mean"]["psnr_mask"],
        "turn_deg": errors[0],
        "shift_mm": errors[1],
        "mask_iou": lowest_mask_iou(source, truth),
        "cameras_s": seconds["cameras"],
        "total_s": sum(seconds.values()),
    }


def show(line: dict[str, Any], clean_percent: float | None) -> None:
    ratio = f"{line['chamfer_percent'] / clean_percent:8.2f}x" if clean_percent else "        -"
    iou = "        -" if line["mask_iou"] is None else f"{line['mask_iou']:9.4f}"
    sys.stdout.write(
        f"{line['variant']:12} {line['chamfer_percent']:8.4f} {ratio} {line['held_out_db']:12.2f} "
        f"{line['turn_deg']:9.3f} {line['shift_mm']:9.3f} {iou} {line['cameras_s']:10.1f} {line['total_s']:8.1f}\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("object", type=Path)
    parser.add_argument("--scorer", required=True, help="command that scores a mesh; words are split as in a shell")
    parser.add_argument("--variants", nargs="+", default=["clean", "nocam", "pose", "background"])
    parser.add_argument("--json", type=Path, help="write every line here as well")
    arguments = parser.parse_args()
    sys.stdout.write(HEADER)
    lines: list[dict[str, Any]] = []
    for name in arguments.variants:
        lines.append(measure(name, arguments))
        clean = next((line["chamfer_percent"] for line in lines if line["variant"] == "clean"), None)
        show(lines[-1], clean)
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
