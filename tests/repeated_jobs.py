"""The same job, twice: what was published, but for how long anything took."""

import json
from collections.abc import Iterator
from pathlib import Path

import geometry_scenes
import scenes
from recon import Settings, reconstruct
from recon.scene import Capture

FAULTS = {
    "exact": scenes.Faults(),
    "noisy, wrong cameras": scenes.Faults(has_sensor_noise=True, turn_deg=2.0, shift_m=0.005),
    "without depth": scenes.Faults(has_depth=False),
    "with holes, wrong lenses": scenes.Faults(unmeasured_radius=0.15, focal_factors=(1.03,)),
}


def photographed(name: str, faults: str, size_px: int) -> Capture:
    """Six views of a solid from the sides."""
    solid = geometry_scenes.SOLIDS[name]
    return scenes.make_capture(solid, scenes.orbit6_cameras(solid, size_px), FAULTS[faults], supersample=1)


def assert_comes_out_the_same(capture: Capture, folder: Path, settings: Settings) -> None:
    """Mesh, texture, previews and scores, byte for byte."""
    for again in ("once", "twice"):
        reconstruct(capture, folder / again, settings)
    once, twice = (dict(_contents(folder / again)) for again in ("once", "twice"))
    assert {"nvdiffrec/mesh.glb", "nvdiffrec/texture.png", "nvdiffrec/quality.json"} <= once.keys()
    assert once.keys() == twice.keys()
    assert [path for path in once if once[path] != twice[path]] == []


def _contents(folder: Path) -> Iterator[tuple[str, object]]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        yield file.relative_to(folder).as_posix(), _timeless(json.loads(data)) if file.suffix == ".json" else data


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if not key.startswith("seconds")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
