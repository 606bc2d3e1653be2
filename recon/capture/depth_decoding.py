"""What the numbers of depth images mean: one decision for all views, recorded with its evidence.

Explicit settings win, then what the camera file states, then inference.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from scipy import ndimage

from recon.capture.depthfile import RawDepth
from recon.errors import InvalidDepth, InvalidOptions
from recon.scene import DepthMap, Inference
from recon.settings import DepthSettings

MILLIMETRE_M = 1e-3
LARGEST_DEPTH_M = 1e4
"""Renderers write huge numbers (1e10) where a ray meets nothing."""

LARGEST_MEDIAN_M = 50.0
"""No object is photographed from farther away: larger floating-point numbers are millimetres."""

COMMON_UNITS_M = (1e-3, 1e-4, 1 / 5000, 1e-5, 1 / 256, 1 / 65535, 1.0)
"""Millimetres, tenths of them, TUM, hundredths, KITTI, the unit interval, metres."""


@dataclass(frozen=True)
class DepthEvidence:
    """What the folder says about its depth numbers.

    Attributes:
        stated_unit_m: From the camera file.
        camera_distance_m: Median distance of the cameras to what they look at; None without cameras.
    """

    stated_unit_m: float | None = None
    camera_distance_m: float | None = None


@dataclass(frozen=True)
class DepthCode:
    """A decided meaning; ``unit_m`` only matters for metres and unsigned, ``is_inferred`` for near_is_bright."""

    encoding: str
    unit_m: float = 1.0
    near_m: float | None = None
    far_m: float | None = None
    is_inferred: bool = False

    @property
    def is_relative(self) -> bool:
        return self.encoding in {"normalised_per_view", "near_is_bright", "disparity"} and self.far_m is None


def decide_code(
    raws: list[RawDepth], settings: DepthSettings, evidence: DepthEvidence
) -> tuple[DepthCode, tuple[Inference, ...]]:
    """Decide what the numbers mean, for all views together.

    Raises:
        InvalidDepth: The files contradict each other or what was declared; names the file.
        InvalidOptions: near_m and far_m are needed and missing.
    """
    _check_alike(raws)
    if settings.encoding == "auto":
        encoding, why = _infer_encoding(raws, settings, evidence)
    else:
        encoding, why = settings.encoding, ""
    _check_possible(encoding, raws[0], settings, evidence)
    inferences = [Inference("depth encoding", encoding, why)] if why else []
    unit_m = settings.unit_m or evidence.stated_unit_m
    if encoding == "unsigned" and unit_m is None:
        unit_m, why = _infer_unit_m(raws, evidence)
        inferences.append(Inference("depth unit", f"{unit_m:g} m per step", why))
    if encoding == "metres":
        unit_m = settings.unit_m or 1.0
        largest = max(_median_measured(raw) for raw in raws)
        if settings.unit_m is None and largest > LARGEST_MEDIAN_M:
            unit_m = MILLIMETRE_M
            inferences.append(
                Inference("depth unit", "millimetres", f"median of the floating-point depth is {largest:.4g}")
            )
    is_inferred = settings.encoding == "auto"
    return DepthCode(encoding, unit_m or 1.0, settings.near_m, settings.far_m, is_inferred), tuple(inferences)


def decode_depth(raw: RawDepth, code: DepthCode) -> DepthMap:
    """Numbers to depths (or to relative codes that grow with depth, while the scale is unknown).

    Raises:
        InvalidDepth: Nothing was measured.
    """
    values = raw.values.astype(np.float64)
    valid = np.isfinite(values) & (values > 0)
    levels = float(raw.largest_code) if raw.integer_bits else float(values[valid].max(initial=1.0))
    # One grey level covers an interval; its middle is half a step up.
    halfway = 0.5 if raw.integer_bits else 0.0
    if code.encoding in {"metres", "unsigned"}:
        depth, step = values * code.unit_m, code.unit_m if raw.integer_bits else 0.0
        valid &= depth < LARGEST_DEPTH_M
    elif code.encoding == "disparity":
        depth, step = _decode_disparity(values, valid, levels, code)
    else:
        fraction = (levels - values + halfway if code.encoding == "near_is_bright" else values + halfway) / levels
        near_m = code.near_m or 0.0
        span_m = 1.0 if code.far_m is None else code.far_m - near_m
        depth, step = near_m + fraction * span_m, span_m / levels
    if not valid.any():
        raise InvalidDepth(f"{raw.name} holds no measurement: every pixel is zero or not a number.", file=raw.name)
    depth = np.where(valid, depth, 0.0)
    may_be_disparity = code.is_inferred and code.is_relative and code.encoding == "near_is_bright"
    depth_z = torch.from_numpy(depth.astype(np.float32))
    return DepthMap(
        depth_z, torch.from_numpy(valid), code.is_relative, step, may_be_disparity, integer_bits=raw.integer_bits
    )


def _decode_disparity(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    valid: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    levels: float,
    code: DepthCode,
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], float]:
    safe = np.where(valid, values, levels)
    if code.far_m and code.near_m:
        inverse = 1 / code.far_m + safe / levels * (1 / code.near_m - 1 / code.far_m)
        return 1 / inverse, float((1 / inverse).max() ** 2 / levels * (1 / code.near_m - 1 / code.far_m))
    relative = 1 / safe
    relative = relative / relative[valid].max(initial=1 / levels)
    return relative, 1 / levels


def _check_alike(raws: list[RawDepth]) -> None:
    first = raws[0]
    for raw in raws[1:]:
        if raw.integer_bits != first.integer_bits:
            raise InvalidDepth(
                f"{raw.name} holds {_bits_text(raw)}, but {first.name} holds {_bits_text(first)}.", file=raw.name
            )


def _check_possible(encoding: str, raw: RawDepth, settings: DepthSettings, evidence: DepthEvidence) -> None:
    if encoding == "unsigned" and raw.integer_bits in {0, 8}:
        declared = (
            "the camera file states a depth unit" if evidence.stated_unit_m else 'encoding = "unsigned" was declared'
        )
        raise InvalidDepth(
            f"{raw.name} holds {_bits_text(raw)}, but {declared}, which needs 16-bit integers.",
            file=raw.name,
            suggestion="Export depth as 16-bit PNG, or state what the values mean with depth.encoding in job.toml.",
        )
    if encoding == "metres" and raw.integer_bits:
        raise InvalidDepth(f"{raw.name} holds {_bits_text(raw)}, but metres are floating-point numbers.", file=raw.name)
    if encoding == "linear8" and (settings.near_m is None or settings.far_m is None):
        raise InvalidOptions("depth.encoding = linear8 needs depth.near_m and depth.far_m.")
    if settings.near_m is not None and settings.far_m is not None and settings.near_m >= settings.far_m:
        raise InvalidOptions("depth.near_m must be smaller than depth.far_m.")


def _infer_encoding(raws: list[RawDepth], settings: DepthSettings, evidence: DepthEvidence) -> tuple[str, str]:
    """The encoding, and why if nobody stated it."""
    first = raws[0]
    if first.integer_bits == 0:
        return "metres", f"{PurePosixPath(first.name).suffix} with floating-point numbers"
    if evidence.stated_unit_m is not None or settings.unit_m is not None:
        return "unsigned", ""
    peaks = [int(raw.values.max(initial=0)) for raw in raws]
    if first.integer_bits > 8 and not all(peak == first.largest_code for peak in peaks):
        return "unsigned", f"{_bits_text(first)}, largest value {max(peaks)}"
    if settings.near_m is not None and settings.far_m is not None:
        return "linear8", "near_m and far_m are stated"
    brighter_inside_count = sum(_is_brighter_inside(raw) for raw in raws)
    evidence_text = (
        f"{_bits_text(first)}; the middle is brighter than the rim in {brighter_inside_count} of {len(raws)} views"
    )
    return "near_is_bright" if brighter_inside_count > 0.75 * len(raws) else "normalised_per_view", evidence_text


def _median_measured(raw: RawDepth) -> float:
    measured = raw.values[np.isfinite(raw.values) & (raw.values > 0) & (raw.values < LARGEST_DEPTH_M)]
    return float(np.median(measured)) if measured.size else 0.0


def _is_brighter_inside(raw: RawDepth) -> bool:
    """Objects bulge towards the camera: their rim is farther away than their middle."""
    stride = max(1, min(raw.values.shape) // 256)
    values = raw.values[::stride, ::stride]
    mask = values > 0
    distance_px = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    reach_px = float(distance_px.max(initial=0.0))
    rim, middle = mask & (distance_px <= 0.15 * reach_px), distance_px >= 0.6 * reach_px
    if reach_px < 3 or not rim.any():
        return False
    return float(np.median(values[middle])) > float(np.median(values[rim])) + 2


def _infer_unit_m(raws: list[RawDepth], evidence: DepthEvidence) -> tuple[float, str]:
    """Metres per step: millimetres unless the cameras' distance to their common target says otherwise."""
    if evidence.camera_distance_m is None:
        return MILLIMETRE_M, "the usual unit of 16-bit depth; nothing in the folder states another"
    measured = np.concatenate([raw.values[raw.values > 0][::97] for raw in raws])
    if measured.size == 0:
        return MILLIMETRE_M, "the usual unit of 16-bit depth"
    median, distance_m = float(np.median(measured)), evidence.camera_distance_m

    def mismatch(unit_m: float) -> float:
        return abs(float(np.log(median * unit_m / distance_m)))

    unit_m = MILLIMETRE_M if mismatch(MILLIMETRE_M) < np.log(2) else min(COMMON_UNITS_M, key=mismatch)
    if mismatch(unit_m) > np.log(2):
        unit_m = MILLIMETRE_M
    return (
        unit_m,
        f"median depth {median * unit_m:.3g} m, cameras {distance_m:.3g} m from what they look at",
    )


def _bits_text(raw: RawDepth) -> str:
    return f"{raw.integer_bits}-bit integers" if raw.integer_bits else "floating-point numbers"
