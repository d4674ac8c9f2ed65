"""A network for one-dimensional signals: which of four shapes is it, whatever its place, size and noise?

    python examples/own_network_1d.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import qblif
from qblif import gen
from qblif.gen import table
from qblif.gen.training import Data
from qblif.sim.deploy import deploy

LENGTH = 48
SHAPES = ("sine", "square", "ramp", "pulse")


def signals(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return signals (count, 1, LENGTH) of integers 0..63, and their classes."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(SHAPES), count)
    phase = (np.arange(LENGTH) * rng.uniform(0.06, 0.12, (count, 1)) + rng.uniform(0, 1, (count, 1))) % 1
    shapes = np.stack([np.sin(2 * np.pi * phase), np.sign(phase - 0.5), 2 * phase - 1,
                       2.0 * (phase < 0.15) - 1])
    values = shapes[classes, np.arange(count)] * rng.uniform(0.5, 1, (count, 1))
    noisy = 31.5 + 24 * values + rng.normal(0, 3, values.shape)
    return torch.from_numpy(noisy.clip(0, 63).round().astype(np.uint8))[:, None], torch.from_numpy(classes)


class SignalNetwork(nn.Module):
    """Signals (N, 1, 48) to logits (N, 4): two strided convolutions, a global average, T = 2."""

    def __init__(self):
        super().__init__()
        self.scale = gen.InputScale(1 / 32, mean=32, bits=6)
        self.conv1 = gen.QConv1d(1, 16, 5, stride=2, padding=2, bias=False)
        self.norm1 = gen.BatchNorm1d(16, step_mode="s")         # (N, C, L): there is no time axis before `repeat`
        self.repeat = gen.Repeat(2)
        self.burst1 = gen.QBLIF(levels=15)
        self.conv2 = nn.Sequential(gen.QConv1d(16, 16, 5, stride=2, padding=2, bias=False), gen.BatchNorm1d(16))
        self.burst2 = gen.QBLIF(levels=15)
        self.readout = nn.Sequential(gen.AdaptiveAvgPool1d(1), gen.Flatten(), gen.QLinear(16, 4), gen.MeanOverTime())

    def forward(self, x):
        x = self.burst1(self.repeat(self.norm1(self.conv1(self.scale(x)))))
        return self.readout(self.burst2(self.conv2(x)))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = Data(*signals(1200, seed=1), *signals(200, seed=2))
    trained = gen.train(SignalNetwork(), data, gen.Recipe(epochs=12, quantised_epochs=4), progress=True)
    print(f"test accuracy: float {trained.float_accuracy:.3f}, quantised {trained.quantised_accuracy:.3f}")

    network = gen.fold(trained.quantised, name="signals")
    print(table.table(network))

    inputs = data.test_x.numpy()[:, :, None, :]                 # the hardware sees 1-D data as images of height 1
    with tempfile.TemporaryDirectory() as folder:
        deploy(network, Path(folder) / "signals.qblif", inputs[:4])
        with qblif.open(Path(folder) / "signals.qblif", target="sim") as accelerator:
            logits = accelerator.run_batch(inputs, progress=True)
            print(accelerator.stats())

    assert (logits == trained.quantised.integers(data.test_x).numpy()).all()
    right = (logits.argmax(1) == data.test_y.numpy()).mean()
    print(f"hardware = PyTorch in all {logits.size} logits; {right:.1%} of {len(logits)} signals right")


if __name__ == "__main__":
    main()
