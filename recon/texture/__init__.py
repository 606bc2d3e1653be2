"""Photographs to a texture: atlas, visibility, blending, texel optimisation, filling.

charts -> packing -> atlas -> texels        where every texel lies on the surface
photograph -> exposure -> blend             what the photographs say about it
fill -> least_squares                       what no photograph shows, and what no blend can say
"""

from recon.texture.bake import bake_texture

__all__ = ["bake_texture"]
