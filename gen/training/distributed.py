"""Several processes that train together: started by torchrun, one per GPU, or on CPUs.

    torchrun --nproc-per-node 2 -m qblif train RECIPE

All processes draw the same order of the samples; of every batch each takes its share, and gradients are averaged.
Without torchrun there is one process, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Team:
    """rank: number of this process, from 0; size: processes in all; local: number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Is this the process that writes files and prints?"""
        return self.rank == 0

    def share(self, index: torch.Tensor) -> torch.Tensor:
        """Return this process's part of the numbers of a batch's samples."""
        return index if self.size == 1 else index[self.rank::self.size]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module that computes the same and averages gradients; all start with the first one's parameters."""
        if self.size == 1:
            return module
        device = next(module.parameters()).device
        return nn.parallel.DistributedDataParallel(module, [device.index] if device.type == "cuda" else None)

    def total(self, *values: float) -> list[float]:
        """Return the sums of `values` over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        if torch.distributed.get_backend() == "nccl":
            sums = sums.cuda()
        torch.distributed.all_reduce(sums)
        return sums.tolist()


ALONE = Team()


@contextlib.contextmanager
def team(device: str):
    """Join the processes that torchrun has started, if it has: yields the Team."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    joined = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    if device == "cuda":
        torch.cuda.set_device(joined.local)
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield joined
    finally:
        torch.distributed.destroy_process_group()
