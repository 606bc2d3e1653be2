"""Steps that repeat, recorded once and replayed where there is a GPU."""

from collections.abc import Callable
from functools import cache

import torch


class Recorded:
    """A step that is taken again and again.

    On a GPU it is recorded as a CUDA graph and replayed: dozens of small kernels take longer to launch than to run.
    """

    def __init__(self, iterate: Callable[[], None], device: torch.device) -> None:
        """Record a step, the first time that it is taken.

        Args:
            iterate: Works in place on tensors that exist already, all of fixed shapes, and asks for no value.
            device: Where the tensors are.
        """
        self._iterate, self._device = iterate, device
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, count: int) -> None:
        """Take it a number of times, at least once."""
        if self._device.type != "cuda":
            for _ in range(count):
                self._iterate()
            return
        if self._graph is None:
            self._graph = _recorded(self._iterate)
            count -= 1
        for _ in range(count):
            self._graph.replay()


def repeat(iterate: Callable[[], None], count: int, device: torch.device) -> None:
    """Take a step a number of times, at least once; see ``Recorded``."""
    Recorded(iterate, device)(count)


@cache
def _side_stream(_: int) -> torch.cuda.Stream:
    """One for each device: cuBLAS keeps 32 MiB for every stream that it has seen, until the process ends."""
    return torch.cuda.Stream()


def _recorded(iterate: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """The step is taken once, on its own, to warm up."""
    stream = _side_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        iterate()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may allocate meanwhile
        iterate()
    return graph
