"""Networks whose levels are worth comparing: random weights, BatchNorm's statistics of one batch."""

import torch
from torch import nn

from qblif.gen import models


def images(shape, count=2, seed=0, bits=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2**bits, (count, *shape), generator=generator).float()


@torch.no_grad()
def lively(module, x, seed=0):
    """Give every BatchNorm the statistics of the batch `x` and random gains, so that no layer dies out or saturates."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.5)
        norm.bias.copy_(torch.rand(norm.bias.shape, generator=generator) - 0.25)
    module.train()(x)
    return module.eval()


def build(name, x, *, static=True, T=2, **arguments):
    """Return a lively network for inputs like `x`."""
    shape = tuple(x.shape[1 if static else 2:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return lively(models.build(name, shape=shape, T=T, static=static, **arguments), x)
