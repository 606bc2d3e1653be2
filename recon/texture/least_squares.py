"""Solve for the texels whose renders reproduce the photographs.

A pixel is the mean of a few samples, a sample is a bilinear mix of four texels: one sparse row per pixel.
A blend of photographs has been low-passed twice, by the pixel and by the look-up; least squares undoes that.
Solved by conjugate gradients on the normal equations, anchored to the blend, with residuals weighed
in sRGB steps (what the eye and the file see).
"""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Int, Tensor
from recon.raster import Rasterizer
from recon.scene import CameraBatch, TriangleMesh
from recon.sums import SparseMatrix, sum_rows_at
from recon.texture.atlas import Atlas
from recon.texture.photograph import Photograph
from recon.texture.texels import Texels

PILOT_ANCHOR, PILOT_STEP_COUNT = 0.02, 4
"""The pull towards the start of a first attempt, which shows how much of the photographs texels can explain."""
ANCHOR_PER_NOISE, LEAST_ANCHOR, MOST_ANCHOR = 0.25, 0.005, 0.08
"""The pull, as a share of a texel's mean weight, is so much of what no texel explains over what the texels change
(Wiener).  Not all of it, since what remains is also what lies aside, which no pull mends: a finely printed carton is
best with 0.002 to 0.005, a rendered cow with 0.01 to 0.03, glossy solids with 0.04 and more."""
STEP_COUNT = 8
SAMPLE_BUDGET = 8_000_000
"""Samples of all views together; decides how many make a pixel."""
DARKEST_LINEAR = 0.01
"""Below this, sRGB steps are not followed further: a black pixel shall not outweigh all others."""


@dataclass(frozen=True)
class PixelRows:
    """Linear equations, one per pixel.

    Attributes:
        pixels_from_texels, texels_from_pixels: A sparse matrix (rows sum to one) and its transpose.
        linear: What the photographs show.
        weight: Trust in every equation.
    """

    pixels_from_texels: SparseMatrix
    texels_from_pixels: SparseMatrix
    linear: Float[Tensor, "p 3"]
    weight: Float[Tensor, "p 1"]


@dataclass(frozen=True)
class WeighedPhotograph:
    """A photograph with what the comparison with the others has shown.

    Attributes:
        gain: Factors on its linear light.
        credit: Per texel, 0..1.
    """

    photograph: Photograph
    gain: Float[Tensor, " 3"]
    credit: Float[Tensor, " n"]


def choose_sample_side(photographs: list[Photograph]) -> int:
    """Samples along a pixel's side: 3 where they fit the budget, as few as 1 for large photographs."""
    pixel_count = sum(int((photograph.trust > 0).sum()) for photograph in photographs)
    return next((side for side in (3, 2) if pixel_count * side**2 <= SAMPLE_BUDGET), 1)


def build_rows(
    mesh: TriangleMesh, atlas: Atlas, texels: Texels, photographs: list[WeighedPhotograph], raster: Rasterizer
) -> PixelRows:
    """One equation per trusted pixel of every photograph."""
    slots = texels.slots()
    side = choose_sample_side([item.photograph for item in photographs])
    rows, columns, values, linear, weight = [], [], [], [], []
    start = 0
    for item in photographs:
        pixel, texel, mix = _sample_pixels(mesh, atlas, item.photograph, raster, side)
        row, column, value = _merge(slots[texel], mix, texels.count)
        rows.append((row + start).int())  # half the memory of what is the largest table of the stage
        columns.append(column.int())
        values.append(value)
        linear.append(item.photograph.linear.view(-1, 3)[pixel] * item.gain)
        credit = sum_rows_at(row, value * item.credit[column], pixel.shape[0])
        weight.append(item.photograph.trust.view(-1)[pixel] * credit)
        start += pixel.shape[0]
    row, column, value = torch.cat(rows), torch.cat(columns), torch.cat(values)
    del rows, columns, values
    forward = SparseMatrix(row, column, value, (start, texels.count))
    column, order = torch.sort(column, stable=True)
    backward = SparseMatrix(column, row[order], value[order], (texels.count, start))
    return PixelRows(forward, backward, torch.cat(linear), torch.cat(weight)[:, None])


def _sample_pixels(
    mesh: TriangleMesh, atlas: Atlas, photograph: Photograph, raster: Rasterizer, side: int
) -> tuple[Int[Tensor, " p"], Int[Tensor, "p m"], Float[Tensor, "p m"]]:
    """Trusted pixels whose samples all hit the mesh, with the texels that they mix and in which shares."""
    camera = photograph.camera
    height, width = camera.height_px, camera.width_px
    fine = CameraBatch(
        camera.camera_from_world, camera.focal_px * side, camera.principal_px * side, height * side, width * side
    )
    fragments = raster.rasterize(mesh.positions_world, mesh.faces, fine)
    points_px = raster.interpolate(atlas.corners_px, atlas.face_corners, fragments)[0] - 0.5
    hit = fragments.hit_mask[0].view(height, side, width, side).all(3).all(1)
    pixel = torch.nonzero((hit & (photograph.trust > 0)).view(-1)).squeeze(1)
    steps = torch.arange(side, device=pixel.device)
    first = (pixel // width * side) * (width * side) + pixel % width * side
    sample = first[:, None] + (steps[:, None] * (width * side) + steps).view(-1)
    point_px = points_px.view(-1, 2)[sample]
    corner = point_px.floor().clamp(0, atlas.size_px - 2)
    share_x, share_y = (point_px - corner).unbind(-1)
    base = (corner[..., 1] * atlas.size_px + corner[..., 0]).long()
    texel = torch.stack([base, base + 1, base + atlas.size_px, base + atlas.size_px + 1], -1)
    upper = torch.stack([1 - share_x, share_x], -1)
    mix = torch.cat([upper * (1 - share_y)[..., None], upper * share_y[..., None]], -1)
    return pixel, texel.flatten(1), mix.flatten(1) / side**2


def _merge(
    slot: Int[Tensor, "p m"], mix: Float[Tensor, "p m"], texel_count: int
) -> tuple[Int[Tensor, " e"], Int[Tensor, " e"], Float[Tensor, " e"]]:
    """Sparse entries (row, column, value) with every texel once per pixel."""
    row = torch.arange(slot.shape[0], device=slot.device)[:, None]
    key, order = torch.sort((row * texel_count + slot.clamp_min(0)).view(-1))
    is_first = torch.ones_like(key, dtype=torch.bool)
    is_first[1:] = key[1:] != key[:-1]
    group = is_first.cumsum(0) - 1
    key = key[is_first]
    value = torch.where(slot >= 0, mix, 0.0).view(-1)[order]
    return key // texel_count, key % texel_count, sum_rows_at(group, value, key.shape[0])


def srgb_slope(linear: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Derivative of the sRGB encoding."""
    curve = 1.055 / 2.4 * linear.clamp_min(0.0031308) ** (1 / 2.4 - 1)
    return torch.where(linear <= 0.0031308, 12.92, curve)


def solve_texels(rows: PixelRows, start: Float[Tensor, "n 3"], step_count: int = STEP_COUNT) -> Float[Tensor, "n 3"]:
    """Texels that show what the photographs show, the nearer to the start the less these agree."""
    weight = rows.weight * srgb_slope(rows.linear.clamp_min(DARKEST_LINEAR)) ** 2
    equations = _Equations(rows, start, weight, rows.texels_from_pixels @ weight)
    anchor = equations.choose_anchor(equations.change(PILOT_ANCHOR, PILOT_STEP_COUNT))
    return (start + equations.change(anchor, step_count)).clamp(0, 1)


@dataclass(frozen=True)
class _Equations:
    """The normal equations of the texels' change.

    Attributes:
        weight: Of every pixel's residual, in linear light.
        diagonal: Every texel's weight in all pixels.
    """

    rows: PixelRows
    start: Float[Tensor, "n 3"]
    weight: Float[Tensor, "p 3"]
    diagonal: Float[Tensor, "n 3"]

    def choose_anchor(self, pilot: Float[Tensor, "n 3"]) -> float:
        """From the mean square (in sRGB) that a first change leaves in the pixels, and its own in the texels."""
        remaining = self.rows.linear - self.rows.pixels_from_texels @ (self.start + pilot)
        noise = (self.weight * remaining**2).sum() / self.rows.weight.sum().clamp_min(1e-20)
        touched = self.diagonal > 0
        count = touched.sum(0).clamp_min(1)
        signal = (self.diagonal.sum(0) / count * (pilot**2 * touched).sum(0) / count).sum()
        anchor = ANCHOR_PER_NOISE * float(noise / signal.clamp_min(1e-20))
        return min(max(anchor, LEAST_ANCHOR), MOST_ANCHOR)

    def change(self, relative_anchor: float, step_count: int) -> Float[Tensor, "n 3"]:
        """Conjugate gradients with a Jacobi preconditioner, each colour channel on its own."""
        forward, backward = self.rows.pixels_from_texels, self.rows.texels_from_pixels
        anchor = relative_anchor * self.diagonal.sum(0) / (self.diagonal > 0).sum(0).clamp_min(1)
        scale = (self.diagonal + anchor).clamp_min(1e-20)
        residual = backward @ (self.weight * (self.rows.linear - forward @ self.start))
        change = torch.zeros_like(self.start)
        preconditioned = residual / scale
        direction = preconditioned
        energy = (residual * preconditioned).sum(0)
        for _ in range(step_count):
            image = backward @ (self.weight * (forward @ direction)) + anchor * direction
            step = energy / (direction * image).sum(0).clamp_min(1e-30)
            change = change + step * direction
            residual = residual - step * image
            preconditioned = residual / scale
            energy_next = (residual * preconditioned).sum(0)
            direction = preconditioned + energy_next / energy.clamp_min(1e-30) * direction
            energy = energy_next
        return change
