"""Refine vertices so that the mesh renders to what was measured, and bend it to photographs that disagree."""

from recon.optimise.holes import Holes, find_holes
from recon.optimise.loop import Aims, OptimisedMesh, OptimiseStep, optimise_mesh
from recon.optimise.photo_fit import THROWAWAY_TEXTURE_PX, PhotoFit, fit_to_photographs
from recon.optimise.photographs import Photographs, photographs_of

__all__ = [
    "THROWAWAY_TEXTURE_PX",
    "Aims",
    "Holes",
    "OptimiseStep",
    "OptimisedMesh",
    "PhotoFit",
    "Photographs",
    "find_holes",
    "fit_to_photographs",
    "optimise_mesh",
    "photographs_of",
]
