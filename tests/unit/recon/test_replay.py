"""Steps that repeat."""

import torch

from recon.replay import repeat


def test_a_step_is_taken_so_often() -> None:
    """Five steps in place leave what five calls leave."""
    value = torch.ones(3)

    def iterate() -> None:
        value.mul_(2).add_(1)

    repeat(iterate, 5, value.device)
    assert value.tolist() == [63.0] * 3
