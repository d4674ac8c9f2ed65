"""Your own network, all the way: train it, fold it, look at it, run it on the simulated hardware. About a minute.

    python examples/own_network.py
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

import qblif
from qblif import gen
from qblif.gen import table
from qblif.gen.data import digits_data
from qblif.sim import golden
from qblif.sim.deploy import deploy


class OwnNetwork(nn.Module):
    """Images (N, 1, 8, 8) of integers 0..16 to logits (N, 10), in T = 2 time steps with bursts up to N = 7."""

    def __init__(self):
        super().__init__()
        self.scale = gen.InputScale(1 / 16, bits=5)             # folded into the first weights
        self.conv1 = nn.Sequential(gen.QConv2d(1, 8, 3, padding=1, bias=False), gen.BatchNorm2d(8))
        self.repeat = gen.Repeat(2)                             # the same current at both time steps
        self.burst1 = gen.QBLIF(levels=7)
        self.pool = gen.MaxPool2d(2)
        self.conv2 = nn.Sequential(gen.QConv2d(8, 16, 3, padding=1, bias=False), gen.BatchNorm2d(16))
        self.shortcut = gen.QConv2d(8, 16, 1, bias=False)
        self.burst2 = gen.QBLIF(levels=7)
        self.readout = nn.Sequential(gen.Flatten(), gen.QLinear(16 * 4 * 4, 10), gen.MeanOverTime())

    def forward(self, x):
        x = self.pool(self.burst1(self.repeat(self.conv1(self.scale(x)))))
        x = self.burst2(self.conv2(x) + self.shortcut(x))       # both into one sum, then the neuron
        return self.readout(x)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)                                    # faster for a network this small
    data = digits_data()
    trained = gen.train(OwnNetwork(), data, gen.Recipe(epochs=12, quantised_epochs=4), progress=True)
    print(f"test accuracy: float {trained.float_accuracy:.3f}, quantised {trained.quantised_accuracy:.3f}")

    network = gen.fold(trained.quantised, name="own")           # integers only from here on
    print(table.table(network))

    images = data.test_x[:40].numpy()
    with tempfile.TemporaryDirectory() as folder:
        deploy(network, Path(folder) / "own.qblif", images[:4])
        with qblif.open(Path(folder) / "own.qblif", target="sim") as accelerator:
            logits = accelerator.run_batch(images, progress=True)
            print(accelerator.stats())

    by_torch = trained.quantised.integers(data.test_x[:40]).numpy()
    by_golden = golden.run(network, images).logits
    assert (logits == by_torch).all() and (logits == by_golden).all()
    right = (logits.argmax(1) == data.test_y[:40].numpy()).mean()
    print(f"hardware = PyTorch = golden model in all {logits.size} logits; {right:.1%} of 40 images right")


if __name__ == "__main__":
    main()
