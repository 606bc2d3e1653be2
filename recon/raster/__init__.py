"""Drawing meshes: one interface, two backends.

``nvdiffrast`` is fast on NVIDIA GPUs and under a non-commercial licence; ``torch`` is plain PyTorch, runs
everywhere and is the readable reference.  Stages receive a ``Rasterizer`` and never choose one.
"""

from recon.raster.interface import Fragments, Rasterizer
from recon.raster.selection import select_rasterizer

__all__ = ["Fragments", "Rasterizer", "select_rasterizer"]
