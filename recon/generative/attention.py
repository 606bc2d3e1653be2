"""The six functions of flash_attn that ReconViaGen calls, on PyTorch's own attention.

Layouts are flash_attn's: dense (batch, tokens, heads, channels); variable length (all tokens, heads, channels)
with the cumulative lengths of the sequences, starting with 0.  ``qkv`` and ``kv`` hold their parts in the axis
before the heads.  No function takes a mask, dropout or a scale: upstream passes none.
"""

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from recon.arrays import Float, Int, Tensor

varlen_attn: Callable[..., Any] | None = None
"""PyTorch 2.10 and later: flash attention over sequences of unequal length without a loop."""
with contextlib.suppress(ImportError):
    from torch.nn.attention.varlen import varlen_attn as _varlen_attn

    varlen_attn = _varlen_attn

HALF_PRECISIONS = (torch.float16, torch.bfloat16)
FUNCTIONS = (
    "flash_attn_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_kvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_varlen_kvpacked_func",
)


def flash_attn_func(q: Float[Tensor, "b n h c"], k: Float[Tensor, "b m h c"], v: Float[Tensor, "b m h d"]) -> Tensor:
    """Attention of every query of a batch item to all its keys, (b, n, h, d)."""
    heads_first = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return heads_first.transpose(1, 2)


def flash_attn_qkvpacked_func(qkv: Float[Tensor, "b n 3 h c"]) -> Tensor:
    """Self-attention, (b, n, h, c)."""
    q, k, v = qkv.unbind(2)
    return flash_attn_func(q, k, v)


def flash_attn_kvpacked_func(q: Float[Tensor, "b n h c"], kv: Float[Tensor, "b m 2 h c"]) -> Tensor:
    """Cross-attention, (b, n, h, c)."""
    k, v = kv.unbind(2)
    return flash_attn_func(q, k, v)


def flash_attn_varlen_func(  # noqa: PLR0913, PLR0917 - flash_attn's own signature
    q: Float[Tensor, "n h c"],
    k: Float[Tensor, "m h c"],
    v: Float[Tensor, "m h d"],
    cu_seqlens_q: Int[Tensor, " s"],
    cu_seqlens_k: Int[Tensor, " s"],
    max_seqlen_q: int,
    max_seqlen_k: int,
) -> Tensor:
    """Attention within sequences that lie one behind the other, (n, h, d)."""
    if len(cu_seqlens_q) == 2:  # one object is one sequence: the dense call needs no lengths
        return flash_attn_func(q[None], k[None], v[None])[0]
    if varlen_attn is not None and q.is_cuda and q.dtype in HALF_PRECISIONS:
        out: Tensor = varlen_attn(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
        return out
    starts = zip(cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist(), strict=True)
    lengths_q, lengths_k = zip(*starts, strict=True)
    pieces = zip(q.split(lengths_q), k.split(lengths_k), v.split(lengths_k), strict=True)
    return torch.cat([flash_attn_func(a[None], b[None], c[None])[0] for a, b, c in pieces])


def flash_attn_varlen_qkvpacked_func(
    qkv: Float[Tensor, "n 3 h c"], cu_seqlens: Int[Tensor, " s"], max_seqlen: int
) -> Tensor:
    """Self-attention within sequences, (n, h, c)."""
    q, k, v = qkv.unbind(1)
    return flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)


def flash_attn_varlen_kvpacked_func(  # flash_attn's own signature
    q: Float[Tensor, "n h c"],
    kv: Float[Tensor, "m 2 h c"],
    cu_seqlens_q: Int[Tensor, " s"],
    cu_seqlens_k: Int[Tensor, " s"],
    max_seqlen_q: int,
    max_seqlen_k: int,
) -> Tensor:
    """Cross-attention within sequences, (n, h, c)."""
    k, v = kv.unbind(1)
    return flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)


def attention_module(installed: ModuleType | None) -> ModuleType:
    """A module to stand under the name ``flash_attn``.

    Args:
        installed: The real flash_attn, which then serves half precision on CUDA (it takes nothing else).
    """
    module = ModuleType("flash_attn")
    for name in FUNCTIONS:
        own = globals()[name]
        setattr(module, name, own if installed is None else _prefer(getattr(installed, name), own))
    return module


def _prefer(fast: Callable[..., Tensor], own: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The installed function where it can serve, ours elsewhere."""

    def attend(first: Tensor, *rest: object) -> Tensor:
        can_be_fast = first.is_cuda and first.dtype in HALF_PRECISIONS
        return fast(first, *rest) if can_be_fast else own(first, *rest)

    return attend
