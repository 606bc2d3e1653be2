"""The same capture, twice, on one GPU: every published file is the same, bit for bit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import geometry_scenes
import scenes
from recon import Settings, reconstruct
from recon.scene import Capture
from recon.sums import SumsByPlace

pytestmark = pytest.mark.gpu

FAULTS = {
    "exact": scenes.Faults(),
    "noisy, wrong cameras": scenes.Faults(has_sensor_noise=True, turn_deg=2.0, shift_m=0.005),
    "without depth": scenes.Faults(has_depth=False),
}


def photographed(name: str, faults: scenes.Faults) -> Capture:
    solid = geometry_scenes.SOLIDS[name]
    return scenes.make_capture(solid, scenes.orbit6_cameras(solid, 256), faults, supersample=1)


def timeless(value: object) -> object:
    """JSON without how long anything took."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if not key.startswith("seconds")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def contents(folder: Path) -> Iterator[tuple[str, object]]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        yield file.relative_to(folder).as_posix(), timeless(json.loads(data)) if file.suffix == ".json" else data


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("name", ["toy", "mug"], ids=["solid", "with a cavity"])
def test_a_job_comes_out_the_same(name: str, faults: scenes.Faults, tmp_path: Path) -> None:
    """Mesh, texture, previews and scores, with all faces and texels that such a job gets."""
    capture = photographed(name, faults)
    for again in ("once", "twice"):
        reconstruct(capture, tmp_path / again, Settings())
    once, twice = (dict(contents(tmp_path / again)) for again in ("once", "twice"))
    assert {"nvdiffrec/mesh.glb", "nvdiffrec/texture.png", "nvdiffrec/quality.json"} <= once.keys()
    assert once.keys() == twice.keys()
    assert [path for path in once if once[path] != twice[path]] == []


@pytest.mark.parametrize("columns", [(), (1,), (3,), (3, 3)], ids=str)
def test_sums_by_place_are_those_of_a_cpu_in_any_repetition(columns: tuple[int, ...]) -> None:
    """Also where one place has most of the rows and many have none."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(20_000, *columns, generator=generator)
    index = torch.randint(0, 4000, (20_000,), generator=generator) * (torch.rand(20_000, generator=generator) > 0.3)
    on_gpu = SumsByPlace(index.cuda(), 5000)
    sums = on_gpu.of(rows.cuda())
    assert (sums.cpu() - SumsByPlace(index, 5000).of(rows.double())).abs().max() < 1e-3
    assert all(torch.equal(on_gpu.of(rows.cuda()), sums) for _ in range(5))
    none = SumsByPlace(index[:0].cuda(), 5000).of(rows[:0].cuda())
    assert none.shape == sums.shape
    assert not none.any()
