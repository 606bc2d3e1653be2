"""Vertex refinement by differentiable rendering: terms, solver, loop."""

from recon.optimise.loop import OptimisedMesh, OptimiseStep, optimise_mesh

__all__ = ["OptimiseStep", "OptimisedMesh", "optimise_mesh"]
