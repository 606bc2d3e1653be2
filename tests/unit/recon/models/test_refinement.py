"""What models say of a refined mesh."""

from dataclasses import replace

import pytest

import geometry_scenes
import texture_scenes
from recon.models.refinement import Refined, loss_history
from recon.optimise import OptimisedMesh, PhotoFit
from recon.optimise.loop import OptimiseStep
from recon.scene import Capture

MESH = texture_scenes.ball(1)
STEP = OptimiseStep(depth_m=1e-3, outline_m=2e-3, colour=None, step_m=3e-4)
BENT = PhotoFit(MESH, 0.01, 0.02, {"front": 0.02, "top": 0.01}, 0.2, 0.1, ({"bend_colour": 0.3},), ())


def refined(share: float, bent: PhotoFit | None = None) -> Refined:
    return Refined(MESH, OptimisedMesh(MESH, (STEP, STEP)), bent, share)


def capture(disagree: bool = False) -> Capture:
    return replace(geometry_scenes.photographed("sphere", size_px=48, supersample=1), photographs_disagree=disagree)


@pytest.mark.parametrize(("share", "words"), [(0.004, None), (0.0051, "0.5%"), (0.256, "25.6%")])
def test_what_no_depth_image_shows_is_told_from_half_a_per_cent_on(share: float, words: str | None) -> None:
    """The share with a digit after the point, and where its shape comes from: colours only if they were asked."""
    told = refined(share).warnings(capture())
    assert len(told) == (words is not None)
    if words:
        assert told[0].startswith(words)
        assert "colour" not in told[0]
        assert "one colour" in refined(share, BENT).warnings(capture())[0]


def test_photographs_that_disagree_are_told_when_they_bent_the_mesh() -> None:
    """Beside what was not measured; a mesh that was bent for holes alone has followed no contradiction."""
    assert len(refined(0.1, BENT).warnings(capture(disagree=True))) == 2
    assert len(refined(0.1, BENT).warnings(capture())) == 1
    assert not refined(0.0, BENT).warnings(capture())


def test_history_counts_steps_over_all_stages() -> None:
    """From 0, each with its stage; what was not measured is in no step."""
    entries = loss_history(refined(0.0, BENT))
    assert [(entry.stage, entry.step) for entry in entries] == [("optimise", 0), ("optimise", 1), ("bend", 2)]
    assert entries[0].terms == {"depth_m": 1e-3, "outline_m": 2e-3, "step_m": 3e-4}
