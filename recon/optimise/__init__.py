"""Refine vertices so that the mesh renders to what was measured, and bend it to photographs that disagree."""

from recon.optimise.loop import OptimisedMesh, OptimiseStep, optimise_mesh
from recon.optimise.photo_fit import THROWAWAY_TEXTURE_PX, PhotoFit, fit_to_photographs

__all__ = [
    "THROWAWAY_TEXTURE_PX",
    "OptimiseStep",
    "OptimisedMesh",
    "PhotoFit",
    "fit_to_photographs",
    "optimise_mesh",
]
