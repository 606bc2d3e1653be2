"""Minimising within bounds."""

import torch

from recon.projected_descent import descend

STIFFNESS = torch.tensor([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]])
PULL = torch.tensor([3.0, 0.0, -1.0])
LARGEST = 2 + 2**0.5


def test_the_minimum_without_bounds_is_found() -> None:
    """Where the bounds are wide, the solution is that of the linear system."""
    found = descend(torch.zeros(3), lambda x: (STIFFNESS @ x - PULL) / LARGEST, lambda x: x, 200)
    assert torch.allclose(found, torch.linalg.solve(STIFFNESS, PULL), atol=1e-5)


def test_at_a_bound_the_energy_only_rises_inwards() -> None:
    """The optimality conditions hold: no gradient where free, one that pushes outwards where held by a bound."""
    found = descend(torch.zeros(3), lambda x: (STIFFNESS @ x - PULL) / LARGEST, lambda x: x.clamp(0.0, 1.0), 200)
    gradient = STIFFNESS @ found - PULL
    assert found.tolist()[0] == 1.0
    assert gradient[0] < 0
    is_free = (found > 0) & (found < 1)
    assert torch.allclose(gradient[is_free], torch.zeros(int(is_free.sum())), atol=1e-5)
    assert (gradient[found == 0] >= 0).all()


def test_more_steps_are_never_worse() -> None:
    """The restart keeps momentum from climbing: the energy after more steps is no higher."""

    def energy(steps: int) -> float:
        x = descend(
            torch.full((3,), 9.0), lambda x: (STIFFNESS @ x - PULL) / LARGEST, lambda x: x.clamp(0.0, 9.0), steps
        )
        return float(x @ STIFFNESS @ x / 2 - PULL @ x)

    energies = [energy(steps) for steps in (1, 3, 10, 30, 100)]
    assert energies == sorted(energies, reverse=True)
