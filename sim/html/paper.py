"""Figures taken from the paper, with the conditions they hold under, to stand beside ours and never among them.

Ref: Bai et al., "QB-LIF: Learnable-Scale Quantized Burst Neurons for Efficient SNNs", arXiv:2604.25688v1
"""

from __future__ import annotations

import dataclasses

CITATION = "Bai et al., QB-LIF: Learnable-Scale Quantized Burst Neurons for Efficient SNNs, arXiv:2604.25688"

LABEL = "taken from the paper"
"""Stands at every one of these figures."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of table 6. levels: N; accuracy: percent; flops, sops: of an image; microjoules: as printed."""

    levels: int
    accuracy: float
    flops: float
    sops: float
    microjoules: float


TABLE_6 = (Row(1, 90.50, 3.54e6, 71.20e6, 50.14), Row(2, 93.35, 3.54e6, 99.05e6, 51.88),
           Row(5, 94.13, 3.54e6, 128.61e6, 54.15), Row(10, 94.64, 3.54e6, 185.30e6, 58.52),
           Row(15, 95.03, 3.54e6, 236.45e6, 62.37), Row(20, 95.58, 3.54e6, 303.79e6, 67.64))
"""ResNet-20 on CIFAR-10, T = 2, 200 epochs; N = 1 is the binary neuron."""

TABLE_6_CONDITIONS = ("ResNet-20 (11.2 M parameters, by our reading), CIFAR-10, T = 2, 200 epochs, weights in floating "
                      "point")

ACCURACIES = (
    ("CIFAR-10", "ResNet-20", {1: 95.40, 2: 96.21, 4: 96.43}),
    ("CIFAR-100", "ResNet-20", {1: 81.36, 2: 81.72, 4: 82.25}),
    ("ImageNet", "ResNet-18", {1: 68.92, 2: 69.35, 4: 69.89}),
    ("ImageNet", "ResNet-34", {1: 71.52, 2: 72.31, 4: 73.14}),
    ("CIFAR10-DVS", "ResNet-20", {10: 81.60}), ("DVS128-Gesture", "ResNet-19", {16: 98.28}))
"""Tables 2 to 4: data, architecture, T -> percent of QB-LIF with N = 20."""

ABLATION = (("binary LIF", "Box-ET", 90.50), ("I-LIF", "Box-ET", 93.85), ("QB-LIF", "Box-ET", 95.05),
            ("I-LIF", "ReLSG-ET", 94.45), ("QB-LIF", "ReLSG-ET", 95.58))
"""Table 5: method, surrogate, percent; ResNet-20, CIFAR-10, T = 2."""

DIFFERENCES = (
    # and how the network in detail was trained, which the page computes (page.difference)
    ("The paper trains 200 to 500 epochs on eight A100 with AutoAugment, cutout, mixup and cutmix. Our networks are "
     "small enough for a small FPGA; the command on each card says how they were trained."),
    ("The paper's weights are floating-point numbers. Ours are integers of 8 bits or fewer, and our accuracies are "
     "those of the integer golden model, which the hardware equals bit for bit."),
    ("The paper's SOPs leave out the first layer, which it counts as FLOPs (3.54 M for T = 2: dense "
     "multiply-accumulates at 32x32). Our SOPs are those of all layers, pixels included; only where the model's energy "
     "is given do they follow the paper."),
    "α, β and the membrane's start are not given in the paper; we take tau = 2, so β = 1 − α = 1/2, and start at 0.",
    "Box-ET is named in the paper without a formula; ours is I-LIF's box with exponential tails.",
)
"""Conditions that differ between the paper's figures and ours."""

INCONSISTENCIES = (
    "Table 1 gives CIFAR images of 64x64; the FLOPs of table 6 fit 32x32.",
    "CIFAR10-DVS: T = 10 in table 4, 16 in table 1.",
    ("Table 6, N = 15: 236.45 M SOPs give 62.46 µJ by the paper's own constants, 62.37 µJ is printed. The increments "
     "in parentheses of the row N = 2 do not fit its values."),
    "Table 6, binary row: 50.14 µJ contains 0.11 M sign operations that no other row has.",
    "Table 2 gives 96.21 % for CIFAR-10 at T = 2 (500 epochs by table 1), tables 5 and 6 give 95.58 % (200 epochs).",
    "Section 5.3 says 94.85 % for I-LIF with Box-ET, table 5 and the next paragraph 93.85 %.",
)
"""What does not fit together in the paper's own figures, or only at a second look."""
