"""Where every photograph was taken from, and what the depth images mean.

Given cameras are checked against the depths and refined when they disagree beyond noise; missing cameras are solved
from cross-view agreement under a rig hypothesis, or by registering the depths with one another.
"""

from recon.cameras.solve import solve_cameras

__all__ = ["solve_cameras"]
