"""Registration against known answers on analytic solids: a third of the surface removed or deformed, then moved."""

from dataclasses import replace

import pytest

import registration_trials as trials
from recon.registration import Similarity, register, sample_mesh


@pytest.mark.parametrize("alteration", trials.ALTERATIONS)
def test_an_altered_mesh_is_registered_back(alteration: str) -> None:
    """Rotation to 1 degree, scale and offset to 1 %, for each of three random similarities."""
    case = trials.solid_case("toy")
    outcomes = [trials.run(case, alteration, seed) for seed in range(3)]
    assert all(outcome.is_success for outcome in outcomes), [str(outcome) for outcome in outcomes]


def test_a_box_without_its_end_finds_its_end() -> None:
    """What is left of a prism slides along it without resistance; shifted look-alikes find where it belongs."""
    case = trials.solid_case("block_with_hole")
    outcomes = [trials.run(case, "removed", seed) for seed in range(40, 43)]
    assert all(outcome.is_success for outcome in outcomes), [str(outcome) for outcome in outcomes]


def test_shape_alone_is_enough_where_it_has_no_twin() -> None:
    """Without colours, a solid without symmetry still finds its place."""
    outcome = trials.run(trials.solid_case("toy"), "removed", 5, with_colours=False)
    assert outcome.found.colour_difference is None
    assert outcome.is_success, str(outcome)


def test_colours_decide_between_look_alikes() -> None:
    """A block can be laid in four ways; its colours say which is right."""
    case = trials.solid_case("block_with_hole")
    outcomes = [trials.run(case, "deformed", seed) for seed in range(3)]
    assert all(outcome.is_success for outcome in outcomes), [str(outcome) for outcome in outcomes]


def test_outlines_decide_where_shape_and_colour_cannot() -> None:
    """The caller's check is asked for the finalists, and the answer it likes wins."""
    case = trials.solid_case("block_with_hole")
    source = sample_mesh(case.mesh, trials.SAMPLES)
    asked: list[Similarity] = []

    def likes_upside_down(similarity: Similarity) -> float:
        asked.append(similarity)
        return float(similarity.rotation[2, 2] < 0)

    found = register(source, replace(case.target, colours_srgb=None), likes_upside_down)
    assert any(item.rotation[2, 2] > 0 for item in asked)
    assert found.silhouette_iou == 1.0
    assert found.target_from_source.rotation[2, 2] < 0


def test_another_shape_is_told_apart() -> None:
    """A block does not pass for a toy: few points are found again, and the caller can see it."""
    toy, block = trials.solid_case("toy"), trials.solid_case("block_with_hole")
    right = register(sample_mesh(toy.mesh, trials.SAMPLES), toy.target)
    wrong = register(sample_mesh(block.mesh, trials.SAMPLES), toy.target)
    assert right.inlier_fraction > 0.95
    assert wrong.inlier_fraction < 0.5
