"""Minimise a convex energy within bounds, by projected accelerated gradient descent.

Nesterov 1983, with the restart of O'Donoghue and Candes 2015.
"""

from collections.abc import Callable

from recon.arrays import Tensor


def descend(
    start: Tensor, gradient_step: Callable[[Tensor], Tensor], project: Callable[[Tensor], Tensor], step_count: int
) -> Tensor:
    """Take a number of steps.

    Args:
        start: Within the bounds.
        gradient_step: The gradient, divided by a bound of the energy's largest curvature.
        project: The nearest point within the bounds.
        step_count: How many.
    """
    ahead, previous, momentum = start, start, 1.0
    for _ in range(step_count):
        downhill = gradient_step(ahead)
        current = project(ahead - downhill)
        advance = current - previous
        if float((downhill * advance).sum()) > 0:
            momentum = 1.0
        next_momentum = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = current + (momentum - 1) / next_momentum * advance
        previous, momentum = current, next_momentum
    return previous
