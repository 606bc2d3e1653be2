"""Names for the tensors that cross module edges.

Axis letters, everywhere: v vertices, f faces, n points, k views, h w image, c channels, u texture
coordinates.  Shapes are checked in tests (``--jaxtyping-packages=recon,beartype.beartype``) and cost
nothing in production.  Re-exported here so that annotations read the same in every module.
"""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
