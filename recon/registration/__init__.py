"""Bringing a mesh of unknown scale, orientation and place to a measured surface.

similarity                 the transform and its least-squares fit
surface_points             a surface as points
nearest                    nearest surface points, quickly (on a lattice) and exactly (in a tree)
seeds                      every orientation is tried coarsely
refinement                 the best are refined until residuals are those of the measurement
register                   the stages in order, and how well the result fits

Depends on no stage; colours and silhouettes decide between orientations that a symmetric shape cannot tell apart.
"""

from recon.registration.register import Registration, register
from recon.registration.similarity import Similarity, fit_similarity
from recon.registration.surface_points import SurfacePoints, sample_mesh

__all__ = ["Registration", "Similarity", "SurfacePoints", "fit_similarity", "register", "sample_mesh"]
