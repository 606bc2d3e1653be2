"""Minimise a convex energy within bounds, by projected accelerated gradient descent.

Nesterov 1983, with the restart of O'Donoghue and Candes 2015.
"""

from collections.abc import Callable

import torch

from recon.arrays import Tensor
from recon.replay import repeat


def descend(
    start: Tensor, gradient_step: Callable[[Tensor], Tensor], project: Callable[[Tensor], Tensor], step_count: int
) -> Tensor:
    """Take a number of steps.

    Args:
        start: Within the bounds.
        gradient_step: The gradient, divided by a bound of the energy's largest curvature; see ``repeat``.
        project: The nearest point within the bounds; so, too.
        step_count: How many.
    """
    ahead, previous = start.clone(), start.clone()
    momentum = torch.ones((), dtype=torch.float64, device=start.device)

    def iterate() -> None:
        downhill = gradient_step(ahead)
        current = project(ahead - downhill)
        advance = current - previous
        kept = torch.where((downhill * advance).sum() > 0, torch.ones_like(momentum), momentum)
        next_momentum = (1 + (1 + 4 * kept**2).sqrt()) / 2
        ahead.copy_(current + (kept - 1) / next_momentum * advance)
        previous.copy_(current)
        momentum.copy_(next_momentum)

    repeat(iterate, step_count, start.device)
    return previous
