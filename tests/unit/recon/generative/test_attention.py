"""The six attention functions against the textbook formula."""

from types import ModuleType

import pytest
import torch

from recon.generative import attention


def expected(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k / sqrt c) v for (n, h, c) tensors."""
    weights = torch.softmax(torch.einsum("nhc,mhc->hnm", q, k) / q.shape[-1] ** 0.5, -1)
    return torch.einsum("hnm,mhc->nhc", weights, v)


@pytest.fixture
def qkv() -> torch.Tensor:
    return torch.randn(2, 7, 3, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_dense_attention_is_the_formula(qkv: torch.Tensor) -> None:
    """All three dense functions, whichever way queries, keys and values are packed."""
    q, k, v = qkv.unbind(2)
    wanted = torch.stack([expected(*item) for item in zip(q, k, v, strict=True)])
    for found in (
        attention.flash_attn_func(q, k, v),
        attention.flash_attn_kvpacked_func(q, qkv[:, :, 1:]),
        attention.flash_attn_qkvpacked_func(qkv),
    ):
        torch.testing.assert_close(found, wanted)


def test_sequences_do_not_see_each_other(qkv: torch.Tensor) -> None:
    """Sequences of unequal length, one of a single token, attend to themselves alone."""
    flat = qkv.flatten(0, 1)
    q, k, v = flat.unbind(1)
    starts = torch.tensor([0, 1, 6, 14], dtype=torch.int32)
    wanted = torch.cat([expected(q[a:b], k[a:b], v[a:b]) for a, b in ((0, 1), (1, 6), (6, 14))])
    for found in (
        attention.flash_attn_varlen_func(q, k, v, starts, starts, 8, 8),
        attention.flash_attn_varlen_kvpacked_func(q, flat[:, 1:], starts, starts, 8, 8),
        attention.flash_attn_varlen_qkvpacked_func(flat, starts, 8),
    ):
        torch.testing.assert_close(found, wanted)


def test_one_sequence_is_dense_attention(qkv: torch.Tensor) -> None:
    """A single sequence, as a job of one object has, needs no bookkeeping of lengths."""
    flat = qkv[0]
    q, k, v = flat.unbind(1)
    starts = torch.tensor([0, 7], dtype=torch.int32)
    found = attention.flash_attn_varlen_kvpacked_func(q, flat[:, 1:], starts, starts, 7, 7)
    torch.testing.assert_close(found, expected(q, k, v))


def test_an_installed_flash_attn_serves_half_precision_on_a_card_only() -> None:
    """On a processor ours runs even when flash_attn is there; every function has a place in the module."""
    installed = ModuleType("flash_attn")
    for name in attention.FUNCTIONS:
        setattr(installed, name, lambda *_: pytest.fail("flash_attn was called on a processor"))
    module = attention.attention_module(installed)
    q = torch.randn(1, 3, 2, 4)
    torch.testing.assert_close(module.flash_attn_func(q, q, q), attention.flash_attn_func(q, q, q))
    assert all(callable(getattr(module, name)) for name in attention.FUNCTIONS)
