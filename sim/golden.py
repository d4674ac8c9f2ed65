"""The golden model: runs a `Network` on integers in PyTorch, batched, and returns every integer on demand.

The arithmetic is docs/numerics.md. Convolutions run in float32 where every partial sum stays below 2**24, else in
float64 (below 2**53): both are exact on integers, in any order of additions. Everything else is int32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from qblif.gen.bounds import source_range
from qblif.gen.network import MaxPool, Network, Neuron, NeuronLayer, Readout, Reset, Source
from qblif.gen.packing import Packing
from qblif.host.codec import InputLayout

from .counts import LayerCounts, count_layer, join_counts

FLOAT32_EXACT = 1 << 24


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """What one layer computed: int32 arrays (T, B, C, H, W).

    current: c, with the bias. membrane: v after the step. levels: the layer's output.
    A MaxPool has levels only (current and membrane None); a Readout has current and membrane, which is the running
    sum of its currents, and levels None.
    """

    name: str
    current: np.ndarray | None
    membrane: np.ndarray | None
    levels: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Logits int64 (B, K); records and counts, one per layer, where they were asked for."""

    logits: np.ndarray
    records: tuple[Record, ...] = ()
    counts: tuple[LayerCounts, ...] = ()

    @property
    def predictions(self) -> np.ndarray:
        """Class of each image, int64 (B,); ties go to the lowest index."""
        return self.logits.argmax(axis=1)


def run(network: Network, x, record: bool = False, batch_size: int = 64, count: bool = False,
        packings: tuple[Packing, ...] = ()) -> Result:
    """Run a network on a batch.

    Parameters
    ----------
    x: integers 0 .. 2**bits - 1, array or tensor: (B, C, H, W) for static inputs, else (T, B, C, H, W), as the
        user has them: the host's padding and zero points are applied here
    record: return every current, membrane and level
    batch_size: images in work at a time
    count: return set bits, additions and so on, `sim.counts`; packings: those for which to count weight rows

    Raises InputError for anything but such an x.
    """
    x = torch.from_numpy(checked(network, x))
    logits, records, counts = [], [], []
    for images in torch.split(x, batch_size, dim=0 if network.input.static else 1):
        steps = list(walk(network, images))
        logits.append(steps[-1].membrane[-1, :, :, 0, 0])
        if record:
            records.append([_record(step, network.steps) for step in steps])
        if count or packings:
            maps = [pad_input(network, images), *(step.levels for step in steps)]
            counts.append([count_layer(network, index, maps, packings) for index in range(len(network.layers))])
    return Result(torch.cat(logits).to(torch.int64).numpy(), _join_records(records),
                  tuple(join_counts(parts) for parts in zip(*counts, strict=True)))


def row_adds(network: Network, x, packing: Packing, batch_size: int = 64) -> np.ndarray:
    """Return int64 (layers, B): weight rows that a cluster has to add for each layer and image.

    Defined at `sim.counts.LayerCounts.row_adds`. Scan efficiency is this over the measured cycles.
    """
    counts = run(network, x, batch_size=batch_size, packings=(packing,)).counts
    return np.stack([layer.row_adds[packing] for layer in counts])


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A layer's tensors, int32 (T, B, C, H, W) or (1, B, C, H, W) where all steps are the same."""

    name: str
    current: torch.Tensor | None
    membrane: torch.Tensor | None
    levels: torch.Tensor | None


def walk(network: Network, x: torch.Tensor) -> Iterator[Step]:
    """Yield the tensors of each layer in turn; x: checked integers, shaped as for `run`."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        maps = [pad_input(network, x)]
        for layer in network.layers:
            step = compute(network, layer, maps)
            maps.append(step.levels)
            yield step


def compute(network: Network, layer, maps) -> Step:
    """Return the tensors of one layer, given all maps before it."""
    if isinstance(layer, MaxPool):
        levels = _frames(lambda m: F.max_pool2d(F.pad(m, _pad(layer.padding)), layer.kernel, layer.stride),
                         maps[layer.map].to(torch.float32)).to(torch.int32)
        return Step(layer.name, None, None, levels.expand(network.steps, *levels.shape[1:]))
    current = layer_current(network, layer, maps)
    if isinstance(layer, Readout):
        current = current.expand(network.steps, *current.shape[1:])
        return Step(layer.name, current, torch.cumsum(current, 0, dtype=torch.int32), None)
    return Step(layer.name, current, *fire(layer, current, network.steps))


def layer_current(network: Network, layer: NeuronLayer | Readout, maps) -> torch.Tensor:
    """Return c: the bias and the sum over the sources; one step only where all sources are static."""
    current = torch.from_numpy(layer.bias.copy()).view(-1, 1, 1)
    for source in layer.sources:
        current = current + (_linear(source, maps[source.map], network.map_peak(source.map)) << source.exponent)
    return current


def fire(layer: NeuronLayer, current: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return membranes and levels, (T, B, C, H, W) each, for currents of `steps` steps or of one for all."""
    neuron = layer.neuron
    f = torch.from_numpy(layer.shift.astype(np.int32)).view(-1, 1, 1)
    h = (1 << f) >> 1 if neuron.rounds else torch.zeros_like(f)
    v = s = torch.zeros_like(current[0])
    membranes, levels = [], []
    for t in range(steps):
        v = update(neuron, f, v, s, current[t if len(current) > 1 else 0])
        s = ((v + h) >> f).clamp(0, neuron.levels)
        membranes.append(v)
        levels.append(s)
    return torch.stack(membranes), torch.stack(levels)


def update(neuron: Neuron, f: torch.Tensor, v: torch.Tensor, s: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return v one step later; s: the level of the step before. Equation (2) of the paper for GATE_SUM."""
    fired = s > 0
    if neuron.style is Reset.GATE_SUM:
        a = _shifted(v, neuron.decay) + c
        return torch.where(fired, _shifted(a, neuron.reset), a)
    if neuron.style is Reset.GATE_MEMBRANE:
        return _shifted(torch.where(fired, _shifted(v, neuron.reset), v), neuron.decay) + c
    return _shifted(v - _shifted(s << f, neuron.reset), neuron.decay) + c


def _shifted(x: torch.Tensor, exponent: int | None) -> torch.Tensor:
    return torch.zeros_like(x) if exponent is None else x >> exponent


def _linear(source: Source, levels: torch.Tensor, peak: int) -> torch.Tensor:
    """Return one source's contribution before its exponent, int32 (T or 1, B, C, H, W)."""
    low, high = source_range(source, peak)
    most = max(-int(low.min()), int(high.max()), peak * source.pool[0] * source.pool[1])
    dtype = torch.float32 if most < FLOAT32_EXACT else torch.float64
    weight = torch.from_numpy(source.weight.copy()).to(dtype)

    def contribution(m):
        if source.pool != (1, 1):
            m = F.avg_pool2d(m, source.pool, source.pool_stride, divisor_override=1)
        elif source.pool_stride != (1, 1):
            m = m[:, :, ::source.pool_stride[0], ::source.pool_stride[1]]
        if source.diagonal:
            m = F.pad(m, _pad(source.padding))[:, :, ::source.stride[0], ::source.stride[1]]
            return m * weight.view(-1, 1, 1)
        return F.conv2d(m, weight, stride=source.stride, padding=source.padding)

    return _frames(contribution, levels.to(dtype)).to(torch.int32)


def _frames(function, levels: torch.Tensor) -> torch.Tensor:
    """Apply a function of (N, C, H, W) to (T, B, C, H, W)."""
    result = function(levels.flatten(0, 1))
    return result.unflatten(0, levels.shape[:2])


def _pad(padding) -> tuple[int, int, int, int]:
    return (padding[1], padding[1], padding[0], padding[0])


def checked(network: Network, x) -> np.ndarray:
    """Return x as int32, by the checks that the host makes; raises InputError."""
    given = network.input
    layout = InputLayout(given.shape, network.steps, given.static, given.bits, given.padding, given.zero_point,
                         stored_channels=given.shape[0], word_bits=32)
    return np.ascontiguousarray(layout.check(x), dtype=np.int32)


def pad_input(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Return map 0, (T or 1, B, C, H, W): the host's padding, filled with the zero point."""
    given = network.input
    x = x.unsqueeze(0) if given.static else x
    top, bottom, left, right = given.padding
    zero = torch.tensor(given.zero_point or (0,) * given.shape[0], dtype=x.dtype).view(-1, 1, 1)
    return F.pad(x - zero, (left, right, top, bottom)) + zero


def _record(step: Step, steps: int) -> Record:
    return Record(step.name, *(None if part is None else part.expand(steps, *part.shape[1:]).numpy()
                               for part in (step.current, step.membrane, step.levels)))


def _join_records(batches) -> tuple[Record, ...]:
    return tuple(Record(parts[0].name, *(None if getattr(parts[0], kind) is None else
                                         np.concatenate([getattr(part, kind) for part in parts], axis=1)
                                         for kind in ("current", "membrane", "levels")))
                 for parts in zip(*batches, strict=True))
