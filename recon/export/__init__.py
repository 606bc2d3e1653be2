"""Files that other programs open: GLB, OBJ, PLY, textures and cameras.

Written directly rather than through a library: the same input gives the same bytes, positions keep every
digit, and the texture is compressed once for all files.
"""

from recon.export.cameras import write_cameras_json
from recon.export.mesh_files import write_mesh_files

__all__ = ["write_cameras_json", "write_mesh_files"]
