"""Work shared out over processes: done once, or ahead of whoever needs it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

T = TypeVar("T")


def share_out(part: Callable[..., None], workers: int, *arguments: object) -> None:
    """Runs `part(worker, workers, *arguments)` in as many processes."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=part, args=(worker, workers, *arguments)) for worker in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"Expected every worker to end well, got exit code {process.exitcode}.")


class _Endless(IterableDataset):
    def __init__(self, start: Callable[[int], Callable[[], object]], seed: int) -> None:
        self.start, self.seed = start, seed

    def __iter__(self) -> Iterator[object]:
        worker = get_worker_info()
        draw = self.start(self.seed if worker is None else self.seed + worker.id)
        while True:
            yield draw()


def feed(start: Callable[[int], Callable[[], T]], seed: int, ahead: int = 0) -> Iterator[T]:
    """What the function returns that `start(seed)` gives, without end.

    `ahead`: so many processes draw before it is needed, each with a seed of its own. At 0 each is drawn when it is asked for.
    """
    if ahead == 0:
        return iter(_Endless(start, seed))
    pinned = torch.cuda.is_available()
    source = _Endless(start, seed)
    return iter(DataLoader(source, batch_size=None, num_workers=ahead, prefetch_factor=3, pin_memory=pinned, multiprocessing_context="fork"))
