"""Typed access to the entries of a camera file, with errors that name the file, the entry and the key."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from recon.errors import InvalidCameras

Matrix: TypeAlias = tuple[tuple[float, ...], ...]
"""Rows of numbers; a 4 x 4 one is a transform on column vectors."""

RIGID_TOLERANCE = 1e-3
"""Largest deviation of R^T R from identity that is rounding (files with 4 digits); more is a scale or a shear."""


QUATERNION_TOLERANCE = 1e-2
"""Largest deviation of a quaternion's length from one that is rounding."""


class TruncatedManifestError(Exception):
    """The text ends too early: it may still be arriving."""


@dataclass(frozen=True)
class Fields:
    """One record of a camera file.

    Attributes:
        record: Keys and values as parsed.
        file: The file's relative path, for messages.
        where: Which entry this is, for messages, for example "frame 3".
    """

    record: Mapping[str, object]
    file: str
    where: str

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return self.record.get(key) is not None

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.record.get(key)
        if value is None:
            raise self.invalid(key, "is missing")
        return self._finite(key, value)

    def number_or(self, key: str, default: float) -> float:
        """A finite number, or the default when the key is absent."""
        return self.number(key) if self.has(key) else default

    def positive(self, key: str) -> float:
        """A finite number above zero."""
        value = self.number(key)
        if value <= 0:
            raise self.invalid(key, f"must be positive, not {value:g}")
        return value

    def count(self, key: str) -> int:
        """A whole number above zero; 640.0 is accepted because several writers emit it."""
        value = self.positive(key)
        if value != int(value):
            raise self.invalid(key, f"must be a whole number, not {value:g}")
        return int(value)

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.record.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.invalid(key, "must be a text that is not empty")
        return value

    def relative_path(self, key: str) -> str:
        """A path that stays inside the job folder, with "/" separators and without a leading "./"."""
        parts = [part for part in self.text(key).replace("\\", "/").split("/") if part != "."]
        if not all(parts) or ".." in parts or ":" in parts[0]:
            raise self.invalid(key, f"must be a path inside the folder, not {self.text(key)!r}")
        return "/".join(parts)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A flat list of finite numbers of a given length."""
        value = self.record.get(key)
        if not isinstance(value, list) or len(value) != count:
            raise self.invalid(key, f"must be a list of {count} numbers")
        return tuple(self._finite(key, item) for item in value)

    def transform(self, key: str) -> Matrix:
        """A rigid 4 x 4 matrix (a 3 x 4 one gets its last row)."""
        value = self.record.get(key)
        if not isinstance(value, list) or len(value) not in (3, 4):
            raise self.invalid(key, "must be a 4 x 4 matrix")
        rows = []
        for row in value:
            if not isinstance(row, list) or len(row) != 4:
                raise self.invalid(key, "must be a 4 x 4 matrix")
            rows.append(tuple(self._finite(key, item) for item in row))
        if len(rows) == 4 and any(abs(a - b) > 1e-6 for a, b in zip(rows[3], (0, 0, 0, 1), strict=True)):
            raise self.invalid(key, "must end in the row 0 0 0 1")
        return self.rigid(key, (*rows[:3], (0.0, 0.0, 0.0, 1.0)))

    def rigid(self, key: str, matrix: Matrix) -> Matrix:
        """The matrix, when it is a rotation and a translation.

        Raises:
            InvalidCameras: It scales, shears or mirrors.
        """
        x, y, z = ([matrix[row][column] for row in range(3)] for column in range(3))
        lengths_and_angles = (_dot(x, x) - 1, _dot(y, y) - 1, _dot(z, z) - 1, _dot(x, y), _dot(y, z), _dot(z, x))
        error = max(abs(value) for value in lengths_and_angles)
        if error > RIGID_TOLERANCE:
            raise self.invalid(key, f"is not a rotation and a translation (its axes are off by {error:.2g})")
        if _dot(x, [y[1] * z[2] - y[2] * z[1], y[2] * z[0] - y[0] * z[2], y[0] * z[1] - y[1] * z[0]]) < 0:
            raise self.invalid(key, "mirrors the world (its determinant is -1)")
        return matrix

    def posed(self, rotation_key: str, rotation: Sequence[float], translation: Sequence[float]) -> Matrix:
        """A rigid 4 x 4 matrix from nine numbers row by row and three."""
        rows = [(*rotation[3 * row : 3 * row + 3], translation[row]) for row in range(3)]
        return self.rigid(rotation_key, (*rows, (0.0, 0.0, 0.0, 1.0)))

    def rotated(self, key: str, quaternion_wxyz: Sequence[float], translation: Sequence[float]) -> Matrix:
        """A rigid 4 x 4 matrix from a quaternion, which is normalised, and a translation.

        Raises:
            InvalidCameras: The quaternion's length is far from one.
        """
        length = math.sqrt(_dot(quaternion_wxyz, quaternion_wxyz))
        if abs(length - 1) > QUATERNION_TOLERANCE:
            raise self.invalid(key, f"must be a unit quaternion, but its length is {length:.3g}")
        w, x, y, z = (value / length for value in quaternion_wxyz)
        rotation = (
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        )  # fmt: skip
        return self.posed(key, rotation, translation)

    def records(self, key: str) -> list["Fields"]:
        """A list of records."""
        value = self.record.get(key)
        if not isinstance(value, list):
            raise self.invalid(key, "must be a list")
        name = key.rstrip("s")
        entries = []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.invalid(key, f"must hold records, but entry {index} is none")
            entries.append(Fields(item, self.file, f"{name} {index}"))
        return entries

    def invalid(self, key: str, fault: str) -> InvalidCameras:
        """The error for one key."""
        place = f"{self.where}: " if self.where else ""
        return InvalidCameras(
            f"{self.file}: {place}{key} {fault}.", file=self.file, details={"entry": self.where, "key": key}
        )

    def _finite(self, key: str, value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        try:
            number = float(value) if is_number else math.nan  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.invalid(key, f"must be a finite number, not {str(value)[:40]}")
        return number


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def parse_json(content: bytes, file: str) -> Fields:
    """Parse a JSON file whose top level is a record.

    Raises:
        TruncatedManifestError: The text ends too early.
        InvalidCameras: No further copying can mend it.
    """
    # A preallocated file that is still being written ends in zeros.
    kept = content.rstrip(b"\0 \t\r\n")
    if not kept:
        raise TruncatedManifestError
    try:
        text = kept.decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            raise TruncatedManifestError from error
        raise InvalidCameras(f"{file} is not UTF-8 text.", file=file) from error
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
            raise TruncatedManifestError from error
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidCameras(f"{file} is not valid JSON: {error.msg} ({place}).", file=file) from error
    except (RecursionError, ValueError) as error:
        raise InvalidCameras(f"{file} is not usable JSON: {error}.", file=file) from error
    if not isinstance(value, dict):
        raise InvalidCameras(f"{file} must hold a JSON object.", file=file)
    return Fields(value, file, "")
