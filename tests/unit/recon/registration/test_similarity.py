"""Similarities: group laws, and the least-squares fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recon.frames import rotation_from_vector
from recon.registration import Similarity, fit_similarity
from recon.registration.similarity import stacked

numbers = st.floats(-3, 3, allow_nan=False)
vectors = st.tuples(numbers, numbers, numbers)


@st.composite
def similarities(draw: st.DrawFn) -> Similarity:
    scale = torch.tensor(draw(st.floats(0.05, 20)), dtype=torch.float64)
    rotation = rotation_from_vector(torch.tensor(draw(vectors), dtype=torch.float64))
    return Similarity(scale, rotation, torch.tensor(draw(vectors), dtype=torch.float64))


def some_points(count: int = 40) -> torch.Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@given(similarities())
def test_an_inverse_undoes(b_from_a: Similarity) -> None:
    """Forth and back is the identity, either way round."""
    points = some_points()
    for there, back in ((b_from_a, b_from_a.inverse()), (b_from_a.inverse(), b_from_a)):
        torch.testing.assert_close(back.apply(there.apply(points)), points, rtol=0, atol=1e-9)


@given(similarities(), similarities())
def test_after_is_one_then_the_other(c_from_b: Similarity, b_from_a: Similarity) -> None:
    """Composition equals application in turn, also as matrices."""
    points = some_points()
    composed = c_from_b.after(b_from_a)
    torch.testing.assert_close(composed.apply(points), c_from_b.apply(b_from_a.apply(points)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(composed.matrix(), c_from_b.matrix() @ b_from_a.matrix(), rtol=1e-9, atol=1e-9)


@given(similarities())
def test_exact_pairs_are_fitted_exactly(b_from_a: Similarity) -> None:
    """Scale, turn and offset come back, whatever is wrong with pairs of weight zero."""
    source = some_points()
    target = b_from_a.apply(source)
    target[:5] += 100
    weights = torch.ones(len(source), dtype=torch.float64)
    weights[:5] = 0
    found = fit_similarity(source, target, weights)
    torch.testing.assert_close(found.matrix(), b_from_a.matrix(), rtol=1e-7, atol=1e-7)


def test_a_mirror_image_is_never_a_rotation() -> None:
    """Points and their mirror image: the best proper rotation, not a reflection."""
    source = some_points()
    found = fit_similarity(source, source * torch.tensor([1.0, 1.0, -1.0]), torch.ones(len(source)).double())
    assert torch.linalg.det(found.rotation) == pytest.approx(1)


def test_many_are_fitted_at_once() -> None:
    """A batch gives what its members give alone."""
    source = some_points(60).view(2, 30, 3)
    target = torch.stack([source[0] * 2 + 1, source[1] * 0.5])
    weights = torch.ones(2, 30, dtype=torch.float64)
    both = fit_similarity(source, target, weights)
    for index in range(2):
        alone = fit_similarity(source[index], target[index], weights[index])
        torch.testing.assert_close(both[index].matrix(), alone.matrix())


@given(st.lists(similarities(), min_size=1, max_size=4))
def test_a_stack_is_its_parts(parts: list[Similarity]) -> None:
    """Several as one batch move points as each does alone."""
    points = some_points()
    batch = stacked(parts).apply(points.expand(len(parts), -1, -1))
    torch.testing.assert_close(batch, torch.stack([part.apply(points) for part in parts]))
