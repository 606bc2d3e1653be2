"""Similarity transforms: turn, scale, move."""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor


@dataclass(frozen=True)
class Similarity:
    """``x_target = scale * rotation @ x_source + offset``; one, or a batch of them.

    Attributes:
        scale: Target units per source unit.
        rotation: Proper.
        offset: In target units.
    """

    scale: Float[Tensor, "*b"]
    rotation: Float[Tensor, "*b 3 3"]
    offset: Float[Tensor, "*b 3"]

    def apply(self, points_source: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 3"]:
        turned = points_source @ self.rotation.transpose(-1, -2)
        return self.scale[..., None, None] * turned + self.offset[..., None, :]

    def turn(self, directions_source: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 3"]:
        """Directions keep their length."""
        return directions_source @ self.rotation.transpose(-1, -2)

    def inverse(self) -> "Similarity":
        rotation = self.rotation.transpose(-1, -2)
        scale = 1 / self.scale
        return Similarity(scale, rotation, -scale[..., None] * (rotation @ self.offset[..., None])[..., 0])

    def after(self, first: "Similarity") -> "Similarity":
        """The transform that applies ``first``, then this one."""
        offset = self.scale[..., None] * (self.rotation @ first.offset[..., None])[..., 0] + self.offset
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, offset)

    def matrix(self) -> Float[Tensor, "*b 4 4"]:
        """``target_from_source``, homogeneous."""
        matrix = torch.zeros(*self.scale.shape, 4, 4, dtype=self.offset.dtype, device=self.offset.device)
        matrix[..., :3, :3] = self.scale[..., None, None] * self.rotation
        matrix[..., :3, 3] = self.offset
        matrix[..., 3, 3] = 1.0
        return matrix

    def double(self) -> "Similarity":
        """In double precision."""
        return Similarity(self.scale.double(), self.rotation.double(), self.offset.double())

    def __getitem__(self, index: Tensor | int) -> "Similarity":
        return Similarity(self.scale[index], self.rotation[index], self.offset[index])


def stacked(similarities: list[Similarity]) -> Similarity:
    """Several as one batch."""
    return Similarity(
        torch.stack([item.scale for item in similarities]),
        torch.stack([item.rotation for item in similarities]),
        torch.stack([item.offset for item in similarities]),
    )


def fit_similarity(
    source: Float[Tensor, "*b n 3"], target: Float[Tensor, "*b n 3"], weights: Float[Tensor, "*b n"]
) -> Similarity:
    """The similarity that takes source points to target points, least squares (Horn 1987).

    The scale is the ratio of the two spreads, Horn's symmetric form: unlike the regression of one side on the other
    it does not shrink when the pairs are noisy, so that repeated matching does not collapse a partial surface.
    """
    share = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-30))[..., None]
    source_mean, target_mean = (source * share).sum(-2), (target * share).sum(-2)
    source_arms, target_arms = source - source_mean[..., None, :], target - target_mean[..., None, :]
    covariance = (target_arms * share).transpose(-1, -2) @ source_arms
    left, _, right = torch.linalg.svd(covariance)
    mirror = torch.ones_like(source_mean)
    mirror[..., 2] = torch.linalg.det(left @ right).sign()
    rotation = left @ (mirror[..., None] * right)
    spread = ((source_arms**2 * share).sum((-1, -2)), (target_arms**2 * share).sum((-1, -2)))
    scale = (spread[1] / spread[0].clamp_min(1e-30)).sqrt()
    return Similarity(scale, rotation, target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0])
