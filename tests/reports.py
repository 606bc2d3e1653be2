"""A finished reconstruction of the textured box, with all the files that the report page shows."""

from pathlib import Path

import torch
from PIL import Image

import meshes
from recon.export import write_mesh_files
from recon.previews.sheet_layout import SheetLayout
from recon.quality import measure, write_error_map
from recon.raster.torch_raster import TorchRasterizer
from recon.report import LossRecord, ModelReport, Report, summarise_capture
from recon.scene import Inference
from recon.settings import DepthSettings, NvdiffrecSettings, OptimiseSettings, Settings


def box_report(results_dir: Path) -> Report:
    """Write the box's files into ``results_dir/nvdiffrec`` and report on them; side 0 is only filled in."""
    box = meshes.textured_box(observed_sides=(1, 2, 3, 4, 5))
    capture = meshes.box_capture().noting(
        Inference("depth encoding", "unsigned, 1 mm per step", "16-bit images"), warnings=("Mind the <gap> & more.",)
    )
    folder = results_dir / "nvdiffrec"
    mesh_files = write_mesh_files(box, folder, "z")
    write_error_map(box, capture, TorchRasterizer(), torch.device("cpu"), folder / "error.png")
    (folder / "previews").mkdir()
    Image.new("RGB", SheetLayout(6).size_px, (255, 0, 255)).save(folder / "previews" / "contact_sheet.png")
    model = ModelReport(
        model="nvdiffrec",
        quality=measure(box, capture, TorchRasterizer(), torch.device("cpu")),
        mesh_files=mesh_files,
        seconds_per_stage={"geometry": 1.0, "texture": 4.0},
        loss_history=tuple(
            LossRecord(step=step, stage="coarse", terms={"depth": 10.0**-step, "never": 0.0}) for step in range(4)
        ),
        facts={"grid_resolution": 128},
    )
    settings = Settings(
        seed=7,
        formats=("glb", "ply"),
        depth=DepthSettings(encoding="unsigned", unit_m=0.001),
        nvdiffrec=NvdiffrecSettings(optimise=OptimiseSettings(step_count=9)),
    )
    return Report(
        models=(model,),
        capture=summarise_capture(capture),
        settings=settings,
        software={"torch": "2.6"},
        input_sha256={"front.png": "ab" * 32},
    )
