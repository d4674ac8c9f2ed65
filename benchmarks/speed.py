"""Training step and inference of the same network with qblif's, SpikingJelly's and snnTorch's neurons, on one thread.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/speed.py

The network: conv3x3 32, conv3x3 64 of stride 2, conv3x3 64 of stride 2, each with BatchNorm and neurons, global
average, linear, mean over T; still images of 28x28. All compute the first convolution and BatchNorm once per image.
SpikingJelly runs multi-step with its torch code, snnTorch in its ordinary loop over time. qblif's LIF computes the very
spikes of SpikingJelly's, which is checked before anything is timed. Each library is timed in both memory layouts of
torch, and the faster one counts. Repeats are interleaved, so that other load on the machine meets all alike; figures
are medians of processor time, which on one thread is what an idle machine takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from qblif.gen import LIF, QBLIF, MeanOverTime, Repeat
from qblif.gen.layers import AdaptiveAvgPool2d, BatchNorm2d, Flatten

CONVOLUTIONS = ((1, 32, 1), (32, 64, 2), (64, 64, 2))
"""Input channels, output channels, stride."""
CLASSES = 10
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


@dataclasses.dataclass(frozen=True)
class Case:
    """One library's network. reset: to be called before every batch."""

    name: str
    module: nn.Module
    reset: Callable[[], None] = lambda: None


def ours(name: str, steps: int, neuron: Callable[[], nn.Module]) -> Case:
    """Return the network of qblif's layers."""
    from qblif.gen import QConv2d, QLinear

    layers = []
    for number, (inputs, outputs, stride) in enumerate(CONVOLUTIONS):
        layers += [QConv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), BatchNorm2d(outputs)]
        layers += [*([] if number else [Repeat(steps)]), neuron()]
    head = [AdaptiveAvgPool2d(1), Flatten(), QLinear(CONVOLUTIONS[-1][1], CLASSES), MeanOverTime()]
    return Case(name, nn.Sequential(*layers, *head))


def spikingjelly(steps: int) -> Case:
    """Return SpikingJelly's network: its layers in multi-step mode behind the first current."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    layers = []
    for number, (inputs, outputs, stride) in enumerate(CONVOLUTIONS):
        mode = "m" if number else "s"
        layers += [layer.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, step_mode=mode),
                   layer.BatchNorm2d(outputs, step_mode=mode), *([] if number else [Repeat(steps)]),
                   neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m")]
    head = [layer.AdaptiveAvgPool2d(1, step_mode="m"), layer.Flatten(step_mode="m"),
            layer.Linear(CONVOLUTIONS[-1][1], CLASSES, step_mode="m"), MeanOverTime()]
    module = nn.Sequential(*layers, *head)
    return Case("SpikingJelly LIF", module, lambda: functional.reset_net(module))


class SnnTorchNet(nn.Module):
    """The network with snnTorch's neurons, in a loop over time."""

    def __init__(self, steps: int):
        super().__init__()
        import snntorch
        from snntorch import surrogate

        self.steps = steps
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs))
            for inputs, outputs, stride in CONVOLUTIONS)
        self.neurons = nn.ModuleList(snntorch.Leaky(beta=0.5, spike_grad=surrogate.atan(), reset_mechanism="zero")
                                     for _ in CONVOLUTIONS)
        self.readout = nn.Linear(CONVOLUTIONS[-1][1], CLASSES)

    def forward(self, x):
        """Return logits (N, K)."""
        first = self.convolutions[0](x)
        membranes = [neuron.init_leaky() for neuron in self.neurons]
        logits = 0
        for _ in range(self.steps):
            spikes = None
            for index, (convolution, neuron) in enumerate(zip(self.convolutions, self.neurons, strict=True)):
                current = convolution(spikes) if index else first
                spikes, membranes[index] = neuron(current, membranes[index])
            logits = logits + self.readout(spikes.mean((2, 3)))
        return logits / self.steps


def cases(steps: int, others: bool = True) -> list[Case]:
    """Return all networks; others: those of other libraries too."""
    own = [ours("qblif LIF", steps, lambda: LIF(2.0)), ours("qblif QB-LIF, N = 15", steps, lambda: QBLIF(15))]
    if not others:
        return own
    missing = [name for name in ("spikingjelly", "snntorch") if not _imports(name)]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} cannot be imported; they are wanted for this comparison alone: pip "
                         "install --no-deps -r benchmarks/requirements.txt (or --own to time qblif alone)")
    return [*own, spikingjelly(steps), Case("snnTorch LIF", SnnTorchNet(steps))]


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def same_spikes(a: Case, b: Case, x: torch.Tensor):
    """Copy the weights of `a` to `b` and check that they give the same logits; raises SystemExit."""
    with torch.no_grad():
        weights = [[value for name, value in case.module.state_dict().items() if not name.endswith("gamma")]
                   for case in (a, b)]
        for given, taken in zip(*weights, strict=True):
            taken.copy_(given)
        a.reset()
        b.reset()
        # training mode: with BatchNorm's statistics of the batch, so that there are spikes to compare
        one, two = a.module.train()(x), b.module.train()(x)
    if not torch.allclose(one, two, atol=1e-4) or not one.std(0).max() > 0:
        raise SystemExit(f"{a.name} and {b.name} do not compute the same: the largest difference of logits is "
                         f"{float((one - two).abs().max()):g}")


def step(case: Case, optimiser, x, y):
    """Train on one batch."""
    case.module.train()
    case.reset()
    optimiser.zero_grad(set_to_none=True)
    F.cross_entropy(case.module(x), y).backward()
    optimiser.step()


@torch.no_grad()
def infer(case: Case, x):
    """Compute the logits of one batch."""
    case.module.eval()
    case.reset()
    case.module(x)


def measure(networks: list[Case], batch: int, repeats: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return {(name, layout): (seconds per training step, seconds of inference per image)}, medians of `repeats`."""
    x, y = torch.rand(batch, 1, 28, 28), torch.randint(0, CLASSES, (batch,))
    optimisers = {case.name: torch.optim.AdamW(case.module.parameters(), 1e-3) for case in networks}
    times = {(case.name, layout): ([], []) for case in networks for layout in LAYOUTS}
    for repeat in range(repeats + 1):
        for layout, memory_format in LAYOUTS.items():
            images = x.contiguous(memory_format=memory_format)
            for case in networks:
                case.module.to(memory_format=memory_format)
                start = time.process_time()
                step(case, optimisers[case.name], images, y)
                between = time.process_time()
                infer(case, images)
                end = time.process_time()
                if repeat:  # the first one warms up
                    times[case.name, layout][0].append(between - start)
                    times[case.name, layout][1].append(end - between)
    return {key: (statistics.median(a), statistics.median(b) / batch) for key, (a, b) in times.items()}


def table(figures: dict[tuple[str, str], tuple[float, float]]) -> tuple[str, bool]:
    """Return the table of each library in its faster layout, and whether each of qblif's is faster than all others.

    Ratios are to the slowest of qblif's."""
    best = {}
    for column in (0, 1):
        for (name, layout), values in figures.items():
            if (name, column) not in best or values[column] < best[name, column][0]:
                best[name, column] = values[column], layout
    names = list(dict.fromkeys(name for name, _ in figures))
    slowest = [max(best[name, column][0] for name in names if name.startswith("qblif")) for column in (0, 1)]
    lines = [f"{'':22}{'training step':>16} {'ratio':>6}  {'layout':15}{'inference, image':>20} {'ratio':>6}  layout"]
    for name in names:
        (a, a_layout), (b, b_layout) = best[name, 0], best[name, 1]
        lines.append(f"{name:22}{1e3 * a:13.1f} ms {a / slowest[0]:6.2f}  {a_layout:15}{1e3 * b:17.3f} ms "
                     f"{b / slowest[1]:6.2f}  {b_layout}")
    faster = all(best[name, column][0] > slowest[column] for name in names if not name.startswith("qblif")
                 for column in (0, 1))
    return "\n".join(lines), faster


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return 0 where qblif is faster than both others, in both columns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4, help="time steps T (4)")
    parser.add_argument("--batch", type=int, default=64, help="images per batch (64)")
    parser.add_argument("--repeats", type=int, default=15, help="timed repeats of each (15)")
    parser.add_argument("--own", action="store_true", help="time qblif alone")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = cases(given.steps, not given.own)
    if not given.own:
        same_spikes(networks[0], networks[2], torch.rand(4, 1, 28, 28))
    text, faster = table(measure(networks, given.batch, given.repeats))
    print(f"T = {given.steps}, batch {given.batch}, one thread, medians of {given.repeats} interleaved repeats, torch "
          f"{torch.__version__}\n")
    print(text)
    if given.own:
        return 0
    print(f"\nqblif is {'faster than both' if faster else 'NOT faster than both'}")
    return 0 if faster else 1


if __name__ == "__main__":
    sys.exit(main())
