"""Steps that repeat, recorded once and replayed where there is a GPU."""

from collections.abc import Callable
from functools import cache

import torch


def repeat(iterate: Callable[[], None], count: int, device: torch.device) -> None:
    """Call a step a number of times.

    On a GPU it is recorded as a CUDA graph and replayed: dozens of small kernels take longer to launch than to run.

    Args:
        iterate: Works in place on tensors that exist already, all of fixed shapes, and asks for no value.
        count: At least 1.
        device: Where the tensors are.
    """
    if device.type == "cuda":
        _replay(iterate, count)
        return
    for _ in range(count):
        iterate()


@cache
def _side_stream(_: int) -> torch.cuda.Stream:
    """One for each device: cuBLAS keeps 32 MiB for every stream that it has seen, until the process ends."""
    return torch.cuda.Stream()


def _replay(iterate: Callable[[], None], count: int) -> None:
    """The first time the step runs on its own, to warm up."""
    stream = _side_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        iterate()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may allocate meanwhile
        iterate()
    for _ in range(count - 1):
        graph.replay()
