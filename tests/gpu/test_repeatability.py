"""The same capture, twice, on one GPU."""

from pathlib import Path

import pytest
import torch

from recon import Settings, reconstruct
from recon.sums import SumsByPlace
from repeated_jobs import FAULTS, assert_comes_out_the_same, photographed

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("name", ["toy", "mug"], ids=["solid", "with a cavity"])
def test_a_job_comes_out_the_same(name: str, faults: str, tmp_path: Path) -> None:
    """Every published file, byte for byte, with all faces and texels that such a job gets."""
    assert_comes_out_the_same(photographed(name, faults, 256), tmp_path, Settings())


@pytest.mark.parametrize("columns", [(), (1,), (3,), (3, 3)], ids=str)
def test_sums_by_place_are_those_of_a_cpu_and_the_same_every_time(columns: tuple[int, ...]) -> None:
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


@pytest.mark.parametrize("name", ["toy", "mug"])
def test_a_mesh_without_depth_follows_its_photographs(name: str, tmp_path: Path) -> None:
    """Gradients on the card's picture lead somewhere: unbounded beside slivers they once ended at 20 and 28 dB."""
    report = reconstruct(photographed(name, "without depth", 256), tmp_path, Settings())
    assert report.models[0].quality.mean.psnr_db > 30
