"""Analytic solids: exact signed distances, so that the distance of any mesh to the truth can be measured.

All lengths in metres, z up, the object's middle near (but not at) the origin.  Distances are exact outside
every solid; inside a union they are a lower bound.  Source of the closed forms: Quilez, "Distance functions".
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
SignedDistance = Callable[[Array], Array]

OFFSET_WORLD = np.array([0.011, -0.007, 0.005])
"""Solids do not sit at the origin, so that nobody gets away with assuming it."""


@dataclass(frozen=True)
class Scene:
    """One solid with a procedural surface colour.

    Attributes:
        name: For test ids.
        signed_distance_m: (n, 3) world points to (n,) metres, negative inside.
        low_world, high_world: Exact bounds.
        gloss: Strength of a view-dependent highlight; 0 is matt.
        texture_wavelength_m: Of the coarsest colour wave.
    """

    name: str
    signed_distance_m: SignedDistance
    low_world: Array
    high_world: Array
    gloss: float = 0.0
    texture_wavelength_m: float = 0.12

    @property
    def diagonal_m(self) -> float:
        return float(np.linalg.norm(self.high_world - self.low_world))

    @property
    def centre_world(self) -> Array:
        return (self.low_world + self.high_world) / 2

    def normals_world(self, positions_world: Array) -> Array:
        """Unit gradients of the signed distance by central differences."""
        step_m = 1e-5
        offsets = step_m * np.eye(3)
        gradient = np.stack(
            [
                self.signed_distance_m(positions_world + offset) - self.signed_distance_m(positions_world - offset)
                for offset in offsets
            ],
            -1,
        )
        return gradient / np.linalg.norm(gradient, axis=-1, keepdims=True).clip(1e-12)

    def colour_linear(self, positions_world: Array) -> Array:
        """View-independent colour in linear light, 0.03 to 0.85: band-limited waves, different in every direction."""
        phase = (positions_world - self.centre_world) * (2 * np.pi / self.texture_wavelength_m)
        x, y, z = phase.T
        coarse = np.stack([np.sin(x + 0.7 * z), np.sin(y - 0.4 * x + 1.0), np.sin(z + 0.5 * y + 2.0)], -1)
        fine = np.stack([np.sin(3.1 * y + 0.3), np.sin(3.7 * z + 1.1), np.sin(3.3 * x + 2.2)], -1)
        finest = np.sin(6.7 * x + 0.2) * np.sin(6.1 * y + 0.9) * np.sin(7.3 * z + 0.4)
        return (0.44 + 0.21 * coarse + 0.12 * fine + 0.08 * finest[:, None]).clip(0.03, 0.85)

    def sample_surface(self, count: int, seed: int = 0) -> Array:
        """Points on the surface (error below 1 nm), evenly by area away from sharp edges."""
        rng = np.random.default_rng(seed)
        shell_m = 0.004 * self.diagonal_m
        low, high = self.low_world - shell_m, self.high_world + shell_m
        kept: list[Array] = []
        while sum(len(points) for points in kept) < count:
            points = rng.uniform(low, high, (40 * count, 3))
            points = points[np.abs(self.signed_distance_m(points)) < shell_m]
            for _ in range(8):
                points = points - self.signed_distance_m(points)[:, None] * self.normals_world(points)
            kept.append(points[np.abs(self.signed_distance_m(points)) < 1e-9])
        return np.concatenate(kept)[:count]


def sphere(radius_m: float = 0.1) -> Scene:
    return _scene("sphere", lambda p: np.linalg.norm(p, axis=-1) - radius_m, [radius_m] * 3)


def cube(side_m: float = 0.16, rounding_m: float = 0.0) -> Scene:
    half = np.full(3, side_m / 2)
    return _scene("rounded_cube" if rounding_m else "cube", lambda p: _box(p, half, rounding_m), half)


def plate(thickness_m: float = 0.004) -> Scene:
    """A standing thin plate, 20 cm wide."""
    half = np.array([0.1, thickness_m / 2, 0.07])
    return _scene("plate", lambda p: _box(p, half, 0.0), half)


def torus(ring_radius_m: float = 0.08, tube_radius_m: float = 0.03) -> Scene:
    def distance(p: Array) -> Array:
        ring = np.linalg.norm(p[:, :2], axis=-1) - ring_radius_m
        return np.hypot(ring, p[:, 2]) - tube_radius_m

    outer = ring_radius_m + tube_radius_m
    return _scene("torus", distance, [outer, outer, tube_radius_m])


def bowl(radius_m: float = 0.1, depth_m: float = 0.09, wall_m: float = 0.008) -> Scene:
    """A cylinder with a deep cavity, open at the top; its floor is as thick as its wall."""
    inner = radius_m - wall_m
    profile = [(0, 0), (radius_m, 0), (radius_m, depth_m), (inner, depth_m), (inner, wall_m), (0, wall_m)]
    return _scene("bowl", _revolved(profile, depth_m / 2), [radius_m, radius_m, depth_m / 2])


def pan(radius_m: float = 0.08, depth_m: float = 0.045, wall_m: float = 0.0025) -> Scene:
    """A thin-walled pan with a round handle along +x."""
    inner = radius_m - wall_m
    profile = [(0, 0), (radius_m, 0), (radius_m, depth_m), (inner, depth_m), (inner, wall_m), (0, wall_m)]
    body = _revolved(profile, depth_m / 2)
    handle_radius_m, reach_m = 0.007, radius_m + 0.1
    start, end = np.array([radius_m - wall_m / 2, 0, 0.01]), np.array([reach_m, 0, 0.018])

    def distance(p: Array) -> Array:
        return np.minimum(body(p), _capsule(p, start, end, handle_radius_m))

    # The handle starts inside the wall; its rounded start reaches into the cavity.
    high = np.array([reach_m + handle_radius_m, radius_m, max(depth_m / 2, end[2] + handle_radius_m)])
    return _scene("pan", distance, high, [-radius_m, -radius_m, -depth_m / 2])


def mug(radius_m: float = 0.04, depth_m: float = 0.1, wall_m: float = 0.004) -> Scene:
    """A drinking mug, deeper than wide, with a round handle along +x as thick as two walls."""
    inner = radius_m - wall_m
    profile = [(0, 0), (radius_m, 0), (radius_m, depth_m), (inner, depth_m), (inner, wall_m), (0, wall_m)]
    body = _revolved(profile, depth_m / 2)
    bend = np.linspace(-np.pi / 2, np.pi / 2, 9)
    joints = np.stack([radius_m + 0.025 * np.cos(bend), 0 * bend, 0.03 * np.sin(bend)], -1)

    def distance(p: Array) -> Array:
        handle = [_capsule(p, start, end, wall_m) for start, end in pairwise(joints)]
        return np.minimum.reduce([body(p), *handle])

    return _scene(
        "mug", distance, [joints[:, 0].max() + wall_m, radius_m, depth_m / 2], [-radius_m, -radius_m, -depth_m / 2]
    )


def shaft(diameter_m: float = 0.006, length_m: float = 0.2) -> Scene:
    """A thin upright rod with a round foot."""
    rod, foot = (diameter_m / 2, length_m / 2), (0.03, 0.008)

    def distance(p: Array) -> Array:
        lowered = p + np.array([0, 0, length_m / 2 - foot[1]])
        return np.minimum(_cylinder(p, *rod), _cylinder(lowered, *foot))

    return _scene("shaft", distance, [foot[0], foot[0], length_m / 2])


def block_with_hole(side_m: float = 0.14, hole_radius_m: float = 0.035) -> Scene:
    """A block with a round hole through it along y."""
    half = np.array([side_m / 2, side_m / 4, side_m / 2])

    def distance(p: Array) -> Array:
        hole = hole_radius_m - np.hypot(p[:, 0], p[:, 2])
        square = _corner_distance(np.abs(p[:, [0, 2]]) - half[[0, 2]])
        # The two outlines never touch, so their maximum is exact; then extrude along y.
        return _corner_distance(np.stack([np.maximum(square, hole), np.abs(p[:, 1]) - half[1]], -1))

    return _scene("block_with_hole", distance, half)


def glossy_cylinder(radius_m: float = 0.05, height_m: float = 0.18) -> Scene:
    half = [radius_m, radius_m, height_m / 2]
    return _scene("glossy_cylinder", lambda p: _cylinder(p, radius_m, height_m / 2), half, gloss=0.6)


def toy() -> Scene:
    """A body, head, legs and tail without any symmetry but a rough left-right one: cameras can be told apart."""
    parts = (
        (np.array([-0.06, 0.0, 0.0]), np.array([0.05, 0.01, 0.0]), 0.045),
        (np.array([0.09, 0.02, 0.06]), np.array([0.115, 0.025, 0.05]), 0.032),
        (np.array([0.05, 0.01, 0.01]), np.array([0.09, 0.02, 0.055]), 0.022),
        (np.array([-0.06, -0.03, -0.02]), np.array([-0.07, -0.035, -0.09]), 0.014),
        (np.array([-0.06, 0.03, -0.02]), np.array([-0.055, 0.04, -0.09]), 0.016),
        (np.array([0.05, -0.025, -0.02]), np.array([0.055, -0.03, -0.09]), 0.014),
        (np.array([0.05, 0.035, -0.02]), np.array([0.065, 0.04, -0.09]), 0.015),
        (np.array([-0.1, 0.0, 0.02]), np.array([-0.13, -0.03, 0.055]), 0.008),
    )
    ends = np.concatenate([np.stack([start - radius, end - radius]) for start, end, radius in parts])
    tips = np.concatenate([np.stack([start + radius, end + radius]) for start, end, radius in parts])

    def distance(p: Array) -> Array:
        return np.minimum.reduce([_capsule(p, start, end, radius) for start, end, radius in parts])

    return _scene("toy", distance, tips.max(0), ends.min(0))


def every_scene() -> tuple[Scene, ...]:
    """One of each, for tests that hold for any solid."""
    return (
        sphere(), cube(), cube(rounding_m=0.02), torus(), plate(), bowl(), mug(), pan(), shaft(),
        block_with_hole(), glossy_cylinder(), toy(),
    )  # fmt: skip


def _scene(
    name: str, distance: SignedDistance, high: npt.ArrayLike, low: npt.ArrayLike | None = None, gloss: float = 0.0
) -> Scene:
    """Place a solid that was defined around the origin; ``low`` defaults to the mirror image of ``high``."""
    high_local = np.asarray(high, np.float64)
    low_local = -high_local if low is None else np.asarray(low, np.float64)
    return Scene(name, lambda p: distance(p - OFFSET_WORLD), low_local + OFFSET_WORLD, high_local + OFFSET_WORLD, gloss)


def _corner_distance(excess: Array) -> Array:
    """Distance to a box given how far a point lies beyond each pair of faces."""
    return np.linalg.norm(excess.clip(0), axis=-1) + excess.max(-1).clip(max=0)


def _box(p: Array, half: Array, rounding_m: float) -> Array:
    return _corner_distance(np.abs(p) - half + rounding_m) - rounding_m


def _cylinder(p: Array, radius_m: float, half_height_m: float) -> Array:
    return _corner_distance(np.stack([np.hypot(p[:, 0], p[:, 1]) - radius_m, np.abs(p[:, 2]) - half_height_m], -1))


def _capsule(p: Array, start: Array, end: Array, radius_m: float) -> Array:
    axis = end - start
    along = ((p - start) @ axis / (axis @ axis)).clip(0, 1)
    across = p - start - along[:, None] * axis
    return np.sqrt((across**2).sum(-1)) - radius_m


def _revolved(profile: list[tuple[float, float]], half_height_m: float) -> SignedDistance:
    """A polygon in (radius, height) turned about z; edges on the axis are inside, not boundary."""
    corners = np.asarray(profile, np.float64) - np.array([0, half_height_m])

    def distance(p: Array) -> Array:
        return _polygon(np.stack([np.hypot(p[:, 0], p[:, 1]), p[:, 2]], -1), corners)

    return distance


def _polygon(p: Array, corners: Array) -> Array:
    """Exact signed distance to a polygon in the half plane x >= 0: nearest edge, sign by crossing number.

    Edges on the axis x = 0 are no boundary: the mirror image goes on there.
    """
    squared = np.full(len(p), np.inf)
    is_inside = np.zeros(len(p), bool)
    x, y = p.T
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        edge_x, edge_y = b - a
        from_x, from_y = x - a[0], y - a[1]
        if edge_y:
            is_inside ^= ((y >= a[1]) != (y >= b[1])) & (from_x < from_y / edge_y * edge_x)
        if a[0] == 0 and b[0] == 0:
            continue
        along = ((from_x * edge_x + from_y * edge_y) / (edge_x**2 + edge_y**2)).clip(0, 1)
        squared = np.minimum(squared, (from_x - along * edge_x) ** 2 + (from_y - along * edge_y) ** 2)
    return np.where(is_inside, -1, 1) * np.sqrt(squared)
