"""What the doctor says of ReconViaGen; the other tests are in tests/integration/test_cli.py."""

from pathlib import Path

import pytest

import trellis_stand_in
from daemon.config import load_config
from daemon.doctor import _examine_reconviagen
from recon.generative import installation
from recon.generative.installation import PIPELINE_DIR
from recon.settings import ReconViaGenInstallation


@pytest.fixture(autouse=True)
def no_packages_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether torchvision is installed is not what these tests are about."""
    monkeypatch.setattr(installation, "PACKAGES", ("safetensors",))


def test_not_installed_is_a_note() -> None:
    """Nobody must have ReconViaGen."""
    (finding,) = _examine_reconviagen(ReconViaGenInstallation())
    assert (finding.grade, finding.what) == ("note", "reconviagen")
    assert "docs/models.md" in finding.remedy


def test_half_configured_is_bad(tmp_path: Path) -> None:
    """One path without the other: the missing key is named."""
    (finding,) = _examine_reconviagen(ReconViaGenInstallation(source_dir=tmp_path))
    assert finding.grade == "bad"
    assert "reconviagen.weights_dir is not set" in finding.message


def test_every_missing_part_is_named(tmp_path: Path) -> None:
    """An empty folder of weights and no checkout: each part has a finding of its own."""
    findings = list(_examine_reconviagen(ReconViaGenInstallation(source_dir=tmp_path, weights_dir=tmp_path)))
    assert {finding.grade for finding in findings} == {"bad"}
    text = "\n".join(finding.message for finding in findings)
    for part in ("trellis_image_to_3d.py", "pipeline.json", "config.json", "model.safetensors", "hubconf.py", ".pth"):
        assert part in text


def test_a_whole_installation_is_well_and_a_cut_file_is_not(tmp_path: Path) -> None:
    """The stand-in's files are whole; four bytes fewer in one of them are noticed and named."""
    weights_dir = tmp_path / "weights"
    trellis_stand_in.write_weights(weights_dir)
    settings = ReconViaGenInstallation(source_dir=trellis_stand_in.STAND_IN_DIR, weights_dir=weights_dir)
    assert [finding.grade for finding in _examine_reconviagen(settings)] == ["ok"]
    file = weights_dir / PIPELINE_DIR / "ckpts" / "slat_flow_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    (finding,) = _examine_reconviagen(settings)
    assert finding.grade == "bad"
    assert str(file) in finding.message
    assert "cut off" in finding.message


def test_the_configuration_names_both_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file and from the environment, which wins."""
    monkeypatch.setenv("MESHDROP_RECONVIAGEN__WEIGHTS_DIR", "/weights")
    config = load_config(root=tmp_path, reconviagen={"source_dir": "/code", "idle_unload_s": 5})
    assert config.reconviagen.source_dir == Path("/code")
    assert config.reconviagen.weights_dir == Path("/weights")
    assert config.reconviagen.idle_unload_s == 5
