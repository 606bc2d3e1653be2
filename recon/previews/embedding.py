"""What the report page carries inside itself: the mesh and its pictures, as text.

Pillow is imported only where a picture is read, so that the page of a failed job costs the daemon nothing.
"""

import base64
import io
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from recon.previews.sheet_layout import SheetLayout

if TYPE_CHECKING:
    from PIL import Image

PICTURES = ("texture", "coverage", "error")

PICTURE_QUALITY = 85
"""WebP quality of embedded pictures: not told apart from the original at a tenth of its size."""

PNG_LEVEL = 4
"""Of palette pictures; the default takes three times as long for a file that is a twentieth smaller."""

LONGEST_SIDE_PX = 2048
"""Embedded pictures are scaled down to this; phones draw no larger textures reliably."""

GAP_PX = 2
"""How far around charts filtered look-ups reach."""

MAX_VIEWER_BYTES = 64 * 2**20
"""A larger mesh.glb stays out of the page: browsers on phones give up on such pages."""


def viewer_data(folder: Path) -> dict[str, object] | None:
    """The parts of mesh.glb that the viewer draws, as base64, and its pictures as data addresses."""
    path = folder / "mesh.glb"
    if not path.is_file() or path.stat().st_size > MAX_VIEWER_BYTES:
        return None
    data = path.read_bytes()
    (json_bytes,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + json_bytes])
    binary = memoryview(data)[28 + json_bytes :]

    def block(accessor: int) -> str:
        view = document["bufferViews"][document["accessors"][accessor]["bufferView"]]
        return base64.b64encode(binary[view["byteOffset"] :][: view["byteLength"]]).decode()

    primitive = document["meshes"][0]["primitives"][0]
    attributes = primitive["attributes"]
    paths = [folder / f"{name}.png" for name in PICTURES]
    with ThreadPoolExecutor() as encoders:  # encoding lets go of the interpreter
        addresses = dict(zip(PICTURES, encoders.map(picture_address, paths), strict=True))
    return {
        "positions": block(attributes["POSITION"]),
        "normals": block(attributes["NORMAL"]),
        "uv": block(attributes["TEXCOORD_0"]),
        "indices": block(primitive["indices"]),
        "pictures": {name: address for name, address in addresses.items() if address},
    }


def picture_address(path: Path) -> str:
    """A picture inside the page: palette pictures keep their indices, others become WebP; empty when there is none."""
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as picture:
        if picture.mode != "P":
            return _webp_address(picture)
        buffer = io.BytesIO()
        _without_gaps(picture).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return _address("png", buffer)


def view_strips(contact_sheet: Path, view_count: int) -> list[str]:
    """The contact sheet cut into one picture per view, so that each can be read also on a phone.

    Returns:
        One address per view; none when the sheet is absent or was drawn for other views.
    """
    from PIL import Image

    layout = SheetLayout(view_count)
    if not contact_sheet.is_file():
        return []
    with Image.open(contact_sheet) as sheet:
        if sheet.size != layout.size_px:
            return []
        strips = [sheet.crop(layout.tiles_box_px(index)) for index in range(view_count)]
    with ThreadPoolExecutor() as encoders:
        return list(encoders.map(_webp_address, strips))


def _webp_address(picture: "Image.Image") -> str:
    shown = picture.convert("RGB")
    shown.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=PICTURE_QUALITY, method=2)
    return _address("webp", buffer)


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def _without_gaps(picture: "Image.Image") -> "Image.Image":
    """Repeat the charts of a palette picture past their rims, or its colour 0 would show along the seams."""
    import numpy as np
    from PIL import Image

    indices = np.asarray(picture)
    grown = indices.copy()
    for axis in (0, 1):  # Pillow's filter takes a hundred times as long, and holds the interpreter meanwhile
        here, there = np.moveaxis(grown, axis, 0), np.moveaxis(grown.copy(), axis, 0)
        for step in range(1, GAP_PX + 1):
            np.maximum(here[step:], there[:-step], out=here[step:])
            np.maximum(here[:-step], there[step:], out=here[:-step])
    shown = Image.frombytes("P", picture.size, np.where(indices == 0, grown, indices).tobytes())
    palette = picture.getpalette()
    assert palette is not None
    shown.putpalette(palette)
    return shown
