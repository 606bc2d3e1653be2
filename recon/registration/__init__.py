"""Bringing a mesh of unknown scale, orientation and place to a measured surface.

similarity                 the transform and its least-squares fit
nearest                    nearest surface points, quickly (on a lattice) and exactly (in a tree)
seeds                      every orientation is tried coarsely
refinement                 the best are refined until residuals are those of the measurement
register                   the stages in order, and how well the result fits

Depends on no stage; colours and silhouettes decide between orientations that a symmetric shape cannot tell apart.
"""

from recon.registration.register import Registration, SurfacePoints, register, sample_mesh
from recon.registration.similarity import Similarity, fit_similarity

__all__ = ["Registration", "Similarity", "SurfacePoints", "fit_similarity", "register", "sample_mesh"]
