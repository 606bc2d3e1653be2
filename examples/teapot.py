"""A painted teapot as formulas: where its surface is and what colour it has there.

Nothing is scanned or modelled by hand, so the exact geometry is known at every point: the signed distance
is a smooth union of ellipsoids, tori and cones (after Inigo Quilez, "Distance functions",
iquilezles.org/articles/distfunctions), and the paint is a function of height and azimuth.  World: metres, +z up,
spout towards +x, standing on z = 0.  All functions take and return numpy arrays of n points.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CREAM, TEAL, GOLD = (0.955, 0.900, 0.790), (0.055, 0.330, 0.370), (0.830, 0.560, 0.160)
CORAL, PLUM, LEAF, INK = (0.860, 0.270, 0.160), (0.420, 0.130, 0.340), (0.220, 0.460, 0.220), (0.130, 0.120, 0.140)
"""sRGB glazes."""

FLOWER_COUNT = 7
BODY_CENTRE_M, BODY_RADII_M = (0.0, 0.0, 0.078), (0.086, 0.086, 0.070)
SPOUT_M = (
    (0.055, 0.052, 0.026),
    (0.088, 0.060, 0.020),
    (0.110, 0.082, 0.0155),
    (0.122, 0.112, 0.012),
    (0.138, 0.137, 0.0105),
)
"""(x, z, radius) of the joints."""


def ellipsoid(points: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """A bound that is exact at the surface."""
    offset = points - centre
    scaled = np.linalg.norm(offset / radii, axis=1)
    gradient = np.linalg.norm(offset / np.square(radii), axis=1)
    return scaled * (scaled - 1) / np.maximum(gradient, 1e-9)


def ring(points: Array, height_m: float, radius_m: float, thickness_m: float) -> Array:
    """A torus around the z axis."""
    across = np.hypot(points[:, 0], points[:, 1]) - radius_m
    return np.hypot(across, points[:, 2] - height_m) - thickness_m


def tapered(points: Array, start: tuple[float, float, float], end: tuple[float, float, float]) -> Array:
    """A cone with round ends between two joints (x, z, radius) in the plane y = 0."""
    a, b = np.array([start[0], 0.0, start[1]]), np.array([end[0], 0.0, end[1]])
    along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
    return np.linalg.norm(points - a - along[:, None] * (b - a), axis=1) - (start[2] + along * (end[2] - start[2]))


def smooth_union(a: Array, b: Array, blend_m: float) -> Array:
    """The nearer of two shapes with a fillet between them (polynomial smooth minimum)."""
    overlap = np.maximum(blend_m - np.abs(a - b), 0.0) / blend_m
    return np.minimum(a, b) - overlap * overlap * blend_m / 4


def handle(points: Array) -> Array:
    """A torus in the plane y = 0, taller than wide, half of it inside the body."""
    across = np.hypot((points[:, 0] + 0.083) / 0.92, points[:, 2] - 0.085) - 0.043
    return (np.hypot(across, points[:, 1]) - 0.0085) * 0.92


def spout(points: Array) -> Array:
    distance_m = np.full(len(points), np.inf)
    for start, end in pairwise(SPOUT_M):
        distance_m = smooth_union(distance_m, tapered(points, start, end), 0.006)
    mouth = tapered(points, (0.133, 0.130, 0.0060), (0.150, 0.156, 0.0085))
    return np.maximum(distance_m, -mouth)


def lid(points: Array) -> Array:
    dome = ellipsoid(points, (0.0, 0.0, 0.136), (0.053, 0.053, 0.024))
    rim = ring(points, 0.139, 0.0535, 0.0042)
    stem = tapered(points, (0.0, 0.150, 0.009), (0.0, 0.172, 0.006))
    knob = smooth_union(ellipsoid(points, (0.0, 0.0, 0.178), (0.0145, 0.0145, 0.0125)), stem, 0.006)
    return smooth_union(smooth_union(dome, rim, 0.004), knob, 0.008)


def body(points: Array) -> Array:
    belly = ellipsoid(points, BODY_CENTRE_M, BODY_RADII_M)
    foot = np.maximum(ring(points, 0.010, 0.048, 0.010), -points[:, 2])
    return smooth_union(np.maximum(belly, 0.010 - points[:, 2]), foot, 0.010)


def signed_distance_m(points: Array) -> Array:
    """Distance to the teapot's surface: negative inside, exact near the surface, a lower bound elsewhere."""
    pot = smooth_union(body(points), spout(points), 0.014)
    pot = smooth_union(pot, handle(points), 0.012)
    return smooth_union(pot, lid(points), 0.003)


def normals(points: Array, step_m: float = 2e-5) -> Array:
    """Outward unit normals by central differences."""
    gradient = np.empty_like(points)
    for axis in range(3):
        offset = np.zeros(3)
        offset[axis] = step_m
        gradient[:, axis] = signed_distance_m(points + offset) - signed_distance_m(points - offset)
    return gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)


def albedo_srgb(points: Array) -> Array:
    """The paint on every surface point."""
    parts = np.stack([body(points), spout(points), handle(points), lid(points)])
    nearest = parts.argmin(0)
    painters = (paint_body, paint_spout, paint_handle, paint_lid)
    colour = np.empty_like(points)
    for index, paint in enumerate(painters):
        chosen = nearest == index
        colour[chosen] = paint(points[chosen])
    return colour * (1 - 0.10 * glaze_noise(points, 0.011)[:, None])


def brush(colour: Array, where: NDArray[np.bool_], glaze: tuple[float, float, float] | Array) -> None:
    colour[where] = glaze if isinstance(glaze, tuple) else glaze[where]


def paint_body(points: Array) -> Array:
    azimuth_rad, height_m = np.arctan2(points[:, 1], points[:, 0]), points[:, 2]
    colour = np.tile(CREAM, (len(points), 1))
    brush(colour, glaze_noise(points + 7.0, 0.0016) > 0.87, (0.800, 0.690, 0.530))

    scallop_m = 0.044 + 0.007 * np.abs(np.cos(azimuth_rad * 9))
    brush(colour, height_m < scallop_m + 0.0028, GOLD)
    brush(colour, height_m < scallop_m, TEAL)
    drop_u = np.abs((azimuth_rad * 9 / np.pi + 0.5) % 1 - 0.5) * np.pi / 9 * 0.086
    brush(colour, (drop_u / 0.0035) ** 2 + ((height_m - 0.037) / 0.0065) ** 2 < 1, CREAM)
    brush(colour, (height_m > 0.018) & (height_m < 0.0215), GOLD)

    paint_garland(colour, azimuth_rad, height_m)
    brush(colour, np.abs(height_m - 0.1165) < 0.0012, GOLD)
    bead_u = np.abs((azimuth_rad * 18 / np.pi + 0.5) % 1 - 0.5) * np.pi / 18 * 0.066
    brush(colour, bead_u**2 + (height_m - 0.1225) ** 2 < 0.0024**2, TEAL)
    return colour


def paint_garland(colour: Array, azimuth_rad: Array, height_m: Array) -> None:
    """Flowers of three colours on a waving stem around the belly."""
    turn = azimuth_rad / (2 * np.pi) * FLOWER_COUNT
    index = np.floor(turn + 0.5).astype(int) % FLOWER_COUNT
    width_m = 2 * np.pi / FLOWER_COUNT * 0.085
    u = ((turn + 0.5) % 1 - 0.5) * width_m
    v = height_m - 0.085

    stem_m = 0.0075 * np.sin(turn * 2 * np.pi)
    brush(colour, np.abs(v - stem_m) < 0.0011, LEAF)
    for side in (-1.0, 1.0):
        leaf_u, leaf_v = u - side * 0.024, v + side * 0.001
        lean_u, lean_v = leaf_u * 0.80 + side * leaf_v * 0.60, leaf_v * 0.80 - side * leaf_u * 0.60
        brush(colour, (lean_u / 0.0085) ** 2 + (lean_v / 0.0036) ** 2 < 1, LEAF)

    petal_rad = np.arctan2(v, u) + index * 0.4
    radius_m = np.hypot(u, v)
    outline_m = 0.0135 * (0.72 + 0.28 * np.cos(5 * petal_rad))
    glaze = np.array([CORAL, PLUM, GOLD])[np.where(index == FLOWER_COUNT - 1, 1, index % 3)]
    brush(colour, radius_m < outline_m + 0.0009, INK)
    brush(colour, radius_m < outline_m, glaze)
    brush(colour, (radius_m < outline_m * 0.8) & (np.abs(np.sin(2.5 * petal_rad)) > 0.985), INK)
    brush(colour, radius_m < 0.0042, CREAM)
    brush(colour, radius_m < 0.0028, TEAL)


def paint_spout(points: Array) -> Array:
    height_m = points[:, 2]
    colour = np.tile(CREAM, (len(points), 1))
    for number, band_m in enumerate((0.078, 0.090, 0.102, 0.114)):
        brush(colour, np.abs(height_m - band_m) < 0.0032 - 0.0005 * number, TEAL)
    brush(colour, height_m > 0.1290, GOLD)
    brush(colour, height_m < 0.052, TEAL)
    return colour


def paint_handle(points: Array) -> Array:
    around_rad = np.arctan2(points[:, 2] - 0.085, -points[:, 0] - 0.083)
    twist_rad = np.arctan2(points[:, 1], np.hypot(points[:, 0] + 0.083, points[:, 2] - 0.085) - 0.043)
    colour = np.tile(TEAL, (len(points), 1))
    brush(colour, np.sin(12 * around_rad + twist_rad) > 0.45, CREAM)
    brush(colour, np.sin(12 * around_rad + twist_rad) > 0.92, GOLD)
    return colour


def paint_lid(points: Array) -> Array:
    azimuth_rad, radius_m = np.arctan2(points[:, 1], points[:, 0]), np.hypot(points[:, 0], points[:, 1])
    colour = np.tile(TEAL, (len(points), 1))
    daisy_m = 0.042 * (0.62 + 0.38 * np.abs(np.cos(azimuth_rad * 5.5)))
    brush(colour, radius_m < daisy_m + 0.0012, GOLD)
    brush(colour, radius_m < daisy_m, CREAM)
    brush(colour, (radius_m < daisy_m * 0.82) & (np.abs(np.sin(azimuth_rad * 5.5 + np.pi / 2)) > 0.97), CORAL)
    brush(colour, radius_m > 0.0475, GOLD)
    brush(colour, points[:, 2] > 0.1615, CORAL)
    brush(colour, (points[:, 2] > 0.1615) & (azimuth_rad > 2.2), GOLD)
    return colour


def glaze_noise(points: Array, cell_m: float) -> Array:
    """Smooth value noise in 0..1 with cells of the given size; the same on every machine."""
    scaled = points / cell_m
    corner = np.floor(scaled).astype(np.int64)
    weight = scaled - corner
    weight = weight * weight * (3 - 2 * weight)
    total = np.zeros(len(points))
    for bits in range(8):
        offset = np.array([bits & 1, bits >> 1 & 1, bits >> 2 & 1])
        share = np.where(offset == 1, weight, 1 - weight).prod(1)
        total += share * lattice_hash(corner + offset)
    return total


def lattice_hash(corner: NDArray[np.int64]) -> Array:
    """A fixed pseudo-random number in 0..1 per lattice corner (integer mixing after Bob Jenkins)."""
    mixed = corner[:, 0] * 73856093 ^ corner[:, 1] * 19349663 ^ corner[:, 2] * 83492791
    mixed = (mixed ^ (mixed >> 13)) * 1274126177 & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 16)) * 2246822519 & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 13)) & 0xFFFF) / 65535.0
