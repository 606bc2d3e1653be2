"""Depths and silhouettes to a closed mesh: fuse, fill, extract, simplify."""

from recon.geometry.build import Geometry, build_geometry

__all__ = ["Geometry", "build_geometry"]
