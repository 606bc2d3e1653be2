"""ReconViaGen through the real daemon and a real worker, with the stand-in of upstream's code on a played card."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import scenes
import shapes
import trellis_stand_in
from job_folders import write_transforms_json
from recon.generative.installation import PIPELINE_DIR, SOURCE_FILES
from served import ServedShare, served

CAPTURE = scenes.make_capture(shapes.sphere(), scenes.cube6_cameras(shapes.sphere(), 64), supersample=1)
OPTIONS = """model = "{model}"
on_low_quality = "keep"
turntable = false
target_faces = 2000
texture_px = 256
[nvdiffrec.fusion]
grid_resolution = 48
[nvdiffrec.optimise]
step_count = 5
[reconviagen]
sparse_steps = 5
latent_steps = 2
"""


@dataclass
class Site:
    """A share whose worker has ReconViaGen installed, and what may go wrong with it."""

    share: ServedShare
    source_dir: Path
    weights_dir: Path
    card_file: Path

    @property
    def checkpoints(self) -> Path:
        return self.weights_dir / PIPELINE_DIR / "ckpts"

    def repair(self) -> None:
        """Everything in place again."""
        for folder in (self.source_dir, self.weights_dir):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(trellis_stand_in.STAND_IN_DIR, self.source_dir)
        trellis_stand_in.write_weights(self.weights_dir)
        self.card_file.write_text("{}")

    def drop(self, name: str, model: str = "reconviagen") -> None:
        draft = self.source_dir.parent / "draft"
        draft.mkdir()
        write_transforms_json(CAPTURE, draft)
        (draft / "job.toml").write_text(OPTIONS.format(model=model))
        draft.rename(self.share.config.inbox / name)

    def failed(self, name: str) -> dict[str, object]:
        """error.json of a job that comes back in failed/."""
        self.share.until(lambda: (self.share.config.failed / name).exists() and not self.share.store.active(), 120)
        content = json.loads((self.share.config.failed / name / "error.json").read_text())
        assert isinstance(content, dict)
        return content

    def done(self, name: str) -> Path:
        """The folder of a job that comes back in done/."""
        self.share.until(lambda: not self.share.store.active() and self.share.states().get(name), 180)
        error = self.share.config.failed / name / "error.json"
        assert not error.exists(), error.read_text()
        return self.share.config.done / name

    def worker_starts(self) -> int:
        return self.share.supervisor.dispatch.executors[0].start_count


@contextmanager
def site_below(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    source_dir, weights_dir, card_file = base / "source", base / "weights", base / "card.json"
    monkeypatch.setenv("PLAYED_CARD", str(card_file))
    worker = {"entry": "recon:reconstruct", "preload": ["recon", "played_card"]}
    installation = {"source_dir": str(source_dir), "weights_dir": str(weights_dir)}
    with served(base, worker=worker, reconviagen=installation) as share:
        site = Site(share, source_dir, weights_dir, card_file)
        site.repair()
        yield site


def remove_checkout(site: Site) -> str:
    (site.source_dir / SOURCE_FILES[0]).unlink()
    return "is not a checkout of ReconViaGen"


def remove_weights(site: Site) -> str:
    (site.checkpoints / "slat_flow_model.safetensors").unlink()
    return "slat_flow_model.safetensors cannot be read"


def truncate_weights(site: Site) -> str:
    file = site.checkpoints / "slat_flow_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    return "is cut off or damaged"


def rename_weights(site: Site) -> str:
    save_file({"other": torch.ones(4)}, site.checkpoints / "slat_flow_model.safetensors")
    return "belongs to another model"


def play_a_small_card(site: Site) -> str:
    site.card_file.write_text('{"total_gib": 8, "free_gib": 8}')
    return "needs 10 GiB of GPU memory; this card has 8.0 GiB"


def play_a_full_card(site: Site) -> str:
    site.card_file.write_text('{"has_no_memory": true}')
    return "not even part by part"


def make_shape_nan(site: Site) -> str:
    save_file({"weight": torch.full((4,), torch.nan)}, site.checkpoints / "sparse_structure_decoder.safetensors")
    return "not a number"


def make_mesh_nan(site: Site) -> str:
    save_file({"weight": torch.full((4,), torch.nan)}, site.checkpoints / "slat_decoder_mesh.safetensors")
    return "not finite"


def empty_shape(site: Site) -> str:
    save_file({"weight": torch.zeros(4)}, site.checkpoints / "sparse_structure_decoder.safetensors")
    return "its shape is empty"


def empty_mesh(site: Site) -> str:
    save_file({"weight": torch.zeros(4)}, site.checkpoints / "slat_decoder_mesh.safetensors")
    return "its mesh is empty"


FAULTS: tuple[tuple[Callable[[Site], str], str], ...] = (
    (remove_checkout, "MODEL_UNAVAILABLE"),
    (remove_weights, "MODEL_WEIGHTS_INVALID"),
    (truncate_weights, "MODEL_WEIGHTS_INVALID"),
    (rename_weights, "MODEL_WEIGHTS_INVALID"),
    (play_a_small_card, "GPU_TOO_SMALL"),
    (play_a_full_card, "MODEL_OUT_OF_GPU_MEMORY"),
    (make_shape_nan, "MODEL_DIVERGED"),
    (make_mesh_nan, "MODEL_DIVERGED"),
    (empty_shape, "MODEL_DIVERGED"),
    (empty_mesh, "MODEL_DIVERGED"),
)


@pytest.mark.slow
def test_every_fault_has_its_error_and_costs_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker meets every fault in turn, each job says which it was, and the same process does a good job after all.

    The good job's options reach the model (as many evaluations as its job.toml asks for), nothing of its surface is
    filled in from neighbours, and the next job finds the weights loaded.
    """
    with site_below(tmp_path, monkeypatch) as site:
        for fault, code in FAULTS:
            site.repair()
            words = fault(site)
            site.drop(fault.__name__)
            content = site.failed(fault.__name__)
            assert content["code"] == code, content
            assert words in str(content["message"])
            assert len(str(content["suggestion"])) > 20
        site.repair()
        site.drop("good")
        results = site.done("good") / "results" / "reconviagen"
        assert site.worker_starts() == 1
        facts = json.loads((results / "quality.json").read_text())["facts"]
        assert (facts["sparse_structure_evaluations"], facts["slat_evaluations"]) == (5, 2)
        assert (facts["was_warm"], facts["low_vram"]) == (False, False)
        surface = json.loads((results / "quality.json").read_text())["surface"]
        assert surface["filled_fraction"] == 0
        assert surface["observed_fraction"] + surface["generated_fraction"] == pytest.approx(1)
        site.drop("again")
        again = site.done("again") / "results" / "reconviagen"
        assert json.loads((again / "quality.json").read_text())["facts"]["was_warm"] is True
        assert site.worker_starts() == 1


@pytest.mark.slow
def test_both_models_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two results with one comparison; and where ReconViaGen finds no memory, the other's result is not lost."""
    with site_below(tmp_path, monkeypatch) as site:
        site.drop("pair", "both")
        results = site.done("pair") / "results"
        models = ("nvdiffrec", "reconviagen")
        documents = [json.loads((results / model / "quality.json").read_text()) for model in models]
        assert documents[0]["comparison"] == documents[1]["comparison"]
        assert set(documents[0]["comparison"]) == set(models)
        assert (results / "comparison.png").exists()
        words = play_a_full_card(site)
        site.drop("half", "both")
        folder = site.done("half")
        assert sorted(path.name for path in (folder / "results").iterdir() if path.is_dir()) == ["nvdiffrec"]
        warnings = json.loads((folder / "result.json").read_text())["reconstruction"]["warnings"]
        assert any(text.startswith("The model reconviagen failed: ") and words in text for text in warnings), warnings
        assert site.worker_starts() == 1
