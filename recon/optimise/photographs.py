"""What the photographs add to noisy or missing depth: one colour per place, whatever each view's exposure."""

from dataclasses import dataclass, replace

import torch

from recon.arrays import Float, Tensor
from recon.observations import Observations
from recon.optimise.photo_terms import PhotometricTerm, blurred_layers, photometric_term, resampled
from recon.raster import Fragments, Rasterizer
from recon.scene import Capture, TriangleMesh

NOISE_PER_DIFFERENCE, LEAST_COLOUR_NOISE, MOST_COLOUR_NOISE = 6.0, 0.03, 0.1
"""Deviation of a pixel's colour (sRGB, 0..1) that no displacement explains, from the mean difference of photographs:
gloss, shading and resampling err alike over whole patches, so it counts for several times what single pixels show.
With the noise of the depth it says how much a pixel's colour weighs against its depth."""

BLUR_PX = 0.5
"""Photographs are blurred by so little: wider blurs mix what perspective shortens differently in every view."""

LARGEST_GAIN = 2.0
"""Exposures differ by no more than this factor from their mean; what does is another colour."""


@dataclass(frozen=True)
class Photographs:
    """The photographs on the grid of the observations.

    Attributes:
        layers: Colour, its slopes and coverage (``photo_terms.blurred_layers``).
        gains: Factor per view and channel that brings them to one exposure.
    """

    layers: Float[Tensor, "k 10 h w"]
    gains: Float[Tensor, "k 3"]

    def adjusted(self, term: PhotometricTerm) -> "Photographs":
        """With the exposures that the last comparison found; their geometric mean stays 1."""
        gains = (self.gains * term.gains).clamp(1 / LARGEST_GAIN, LARGEST_GAIN)
        return replace(self, gains=gains / gains.log().mean(0).exp())


def photographs_of(capture: Capture, observations: Observations) -> Photographs:
    """The capture's photographs, resampled to the observations' pixels."""
    size_px = (observations.cameras.height_px, observations.cameras.width_px)
    views = tuple(resampled(view, size_px) for view in capture.views)
    device = observations.depth_z_m.device
    return Photographs(blurred_layers(views, BLUR_PX, device), torch.ones(len(views), 3, device=device))


def colour_term(
    mesh: TriangleMesh,
    fragments: Fragments,
    observations: Observations,
    photographs: Photographs,
    raster: Rasterizer,
) -> PhotometricTerm:
    """The photometric term in units of a depth pixel's weight: colours and depths count by their precision."""
    gains = torch.cat([photographs.gains.repeat(1, 3), torch.ones_like(photographs.gains[:, :1])], 1)
    layers = photographs.layers * gains[..., None, None]
    term = photometric_term(mesh, fragments, observations.cameras, layers, raster)
    noise = min(max(NOISE_PER_DIFFERENCE * term.difference, LEAST_COLOUR_NOISE), MOST_COLOUR_NOISE)
    weight = _pixels_per_face(fragments) * (observations.noise_m / noise) ** 2
    return replace(term, blocks=weight * term.blocks, pulls=weight * term.pulls)


def _pixels_per_face(fragments: Fragments) -> float:
    """Mean number of pixels that a view which sees a face sees of it: the term looks at each face once a view."""
    drawn = sum(int(face_index[face_index >= 0].unique().numel()) for face_index in fragments.face_index)
    return float(fragments.hit_mask.sum()) / max(drawn, 1)
