"""Small modules of every kind that fold understands, and parameters for which nothing has to be rounded."""

import torch
from torch import nn

from qblif.gen import (
    ILIF,
    LIF,
    QBLIF,
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    Add,
    AvgPool1d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Flatten,
    InputScale,
    MaxPool1d,
    MaxPool2d,
    MeanOverTime,
    QConv1d,
    QConv2d,
    QLinear,
    Repeat,
    SeqToBatch,
    digits_net,
)


class Of(nn.Module):
    """A module with the given parts and forward function."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def head(channels, classes=3, size=1):
    return nn.Sequential(Flatten(), QLinear(channels * size, classes), MeanOverTime())


def conv(i, o, k=3, **kw):
    kw = {"padding": 1 if k == 3 else 0, "bias": False} | kw
    return nn.Sequential(QConv2d(i, o, k, **kw), BatchNorm2d(o))


def sequential():
    return nn.Sequential(QConv2d(2, 3, 3), Repeat(2), QBLIF(5), Flatten(), QLinear(3 * 4, 3), MeanOverTime())


def digits():
    return digits_net(T=2, levels=5, channels=(2, 3))


def identity_shortcut():
    return Of(lambda m, x: m.head(m.n2(m.n1(m.a(m.rep(x))) + m.rep2(x))),
              rep=Repeat(2), rep2=Repeat(2), a=conv(2, 2), n1=QBLIF(3), n2=QBLIF(4), head=head(2, size=16))


def deep_identity():
    def forward(m, x):
        x = m.n0(m.stem(m.rep(x)))
        x = m.n2(m.c2(m.n1(m.c1(x))) + x)
        return m.head(m.pool(x))
    return Of(forward, rep=Repeat(4), stem=conv(2, 3), n0=QBLIF(6), c1=conv(3, 3), n1=QBLIF(6), c2=conv(3, 3),
              n2=QBLIF(6), pool=AdaptiveAvgPool2d(1), head=head(3))


def branches():
    def forward(m, x):
        x = m.rep(x)
        y = m.n(m.add(m.a(x), m.b(x)) + m.c(x))
        return m.mean(m.left(m.flat(m.p(y))) + m.right(m.flat(y)))
    return Of(forward, rep=Repeat(2), a=conv(2, 3), b=conv(2, 3, 1), c=conv(2, 3, (1, 3), padding=(0, 1)), add=Add(),
              n=QBLIF(7), p=AvgPool2d(2), flat=Flatten(), left=QLinear(12, 3), right=QLinear(48, 3, bias=False),
              mean=MeanOverTime())


def one_dimensional():
    return nn.Sequential(InputScale(0.25, bits=3), Repeat(2), QConv1d(1, 3, 3, padding=1), BatchNorm1d(3), QBLIF(6),
                         MaxPool1d(2), QConv1d(3, 2, 3, stride=2, padding=1), BatchNorm1d(2), QBLIF(6), AvgPool1d(2),
                         QConv1d(2, 2, 1), QBLIF(3), AdaptiveAvgPool1d(1), Flatten(), QLinear(2, 3), MeanOverTime())


def dense():
    return nn.Sequential(Repeat(4), QLinear(6, 5), BatchNorm1d(5), QBLIF(3), QLinear(5, 4), QBLIF(4), QLinear(4, 3),
                         MeanOverTime())


def max_pooling():
    return nn.Sequential(Repeat(2), *conv(2, 3), QBLIF(4), MaxPool2d(3, 2, 1), *conv(3, 2), QBLIF(4),
                         MaxPool2d(2), head(2))


def max_pooled_input():
    return nn.Sequential(InputScale(0.5, bits=3), MaxPool2d(2), *conv(2, 2), Repeat(2), QBLIF(4), head(2, size=4))


def max_pooling_before_the_neuron():
    return nn.Sequential(Repeat(1), *conv(2, 3), MaxPool2d(2, padding=1), QBLIF(4), head(3, size=9))


def average_pooling():
    return nn.Sequential(Repeat(2), *conv(2, 3), QBLIF(4), AvgPool2d(2), *conv(3, 2), QBLIF(4), AvgPool2d((2, 1)),
                         AvgPool2d((1, 2)), head(2))


def overlapping_average():
    return nn.Sequential(Repeat(2), *conv(2, 3), QBLIF(4), AvgPool2d((2, 4), (1, 2)), *conv(3, 2, (2, 1)), QBLIF(4),
                         head(2, size=2))


def pooled_shortcut():
    def forward(m, x):
        x = m.n0(m.stem(m.rep(x)))
        return m.head(m.n2(m.c2(m.n1(m.c1(x))) + m.short(x)))
    return Of(forward, rep=Repeat(2), stem=conv(2, 2), n0=QBLIF(5), c1=conv(2, 3, stride=2), n1=QBLIF(5), c2=conv(3, 3),
              n2=QBLIF(5), short=nn.Sequential(AvgPool2d(2), *conv(2, 3, 1)), head=head(3, size=4))


def strided_shortcut():
    m = pooled_shortcut()
    m.short = conv(2, 3, 1, stride=2)
    return m


def uneven():
    return nn.Sequential(Repeat(2), *conv(2, 3, (1, 4), stride=(2, 1), padding=(0, 3)), QBLIF(4),
                         *conv(3, 2, (2, 3), stride=(1, 2), padding="valid"), QBLIF(4), head(2, size=3))


def subtracted_mean():
    def forward(m, x):
        x = m.scale(x)
        return m.head(m.n(m.rep(m.a(x) + m.b(x))))
    return Of(forward, scale=InputScale([0.25, 0.5], [3.0, 1.0], bits=3), rep=Repeat(2), a=conv(2, 2), n=QBLIF(4),
              b=conv(2, 2, 1), head=head(2, size=16))


def summed_levels():
    def forward(m, x):
        x = m.rep(x)
        return m.head(m.n2(m.c(m.n0(m.a(x)) + m.n1(m.b(x)))))
    return Of(forward, rep=Repeat(2), a=conv(2, 2), n0=QBLIF(4), b=conv(2, 2), n1=QBLIF(6), c=conv(2, 2), n2=QBLIF(3),
              head=head(2, size=16))


def batch_norm_of_a_sum():
    def forward(m, x):
        x = m.rep(x)
        y = m.a(x) + m.b(x)
        z = m.n0(m.norm(y))
        return m.head(m.n1(m.c(z) + y))
    return Of(forward, rep=Repeat(2), a=conv(2, 2), b=conv(2, 2, 1), norm=BatchNorm2d(2), n0=QBLIF(4), c=conv(2, 2),
              n1=QBLIF(4), head=head(2, size=16))


def torch_layers():
    return nn.Sequential(Repeat(2), SeqToBatch(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)), QBLIF(4),
                         SeqToBatch(nn.MaxPool2d(2), nn.Conv2d(3, 2, 3, padding="same"), nn.Dropout(0.5)), QBLIF(4),
                         Flatten(), nn.Linear(8, 3), MeanOverTime())


def functions():
    def forward(m, x):
        x = m.c(x).unsqueeze(0).repeat(4, 1, 1, 1, 1)
        x = m.n0(x).contiguous()
        y = torch.add(m.n1(m.d(x)), x)
        return m.readout(torch.flatten(y, 2)).mean(0) if m.flat else m.readout(y.mean((-1, -2))).mean(dim=0)
    return Of(forward, c=conv(2, 2), n0=QBLIF(4), d=conv(2, 2), n1=QBLIF(4), flat=True, readout=QLinear(32, 3))


def mean_of_everything():
    m = functions()
    m.flat, m.readout = False, QLinear(2, 3)
    return m


def view_by_shape():
    def forward(m, x):
        x = m.n0(m.c(m.rep(x)))
        return m.readout(x.view(x.shape[0], x.size(1), -1)).sum(0)
    return Of(forward, rep=Repeat(2), c=conv(2, 2), n0=QBLIF(4), readout=QLinear(32, 3))


def no_reduction():
    return nn.Sequential(Repeat(2), *conv(2, 2), QBLIF(4), Flatten(), QLinear(32, 3))


def no_neuron():
    return nn.Sequential(Repeat(4), Flatten(), QLinear(32, 3), MeanOverTime())


def unused_branch():
    def forward(m, x):
        x = m.rep(x)
        m.n1(m.a(x))
        return m.head(m.n0(m.c(x)))
    return Of(forward, rep=Repeat(2), a=conv(2, 2), n1=QBLIF(3), c=conv(2, 2), n0=QBLIF(4), head=head(2, size=16))


def neuron(make):
    return nn.Sequential(Repeat(4), *conv(2, 3), make(), *conv(3, 2, 1), make(), head(2, size=16))


def events():
    return nn.Sequential(*conv(2, 3), QBLIF(4), AvgPool2d(2), head(3, size=4))


STILL = {f.__name__: f for f in (
    sequential, identity_shortcut, deep_identity, branches, max_pooling, max_pooled_input,
    max_pooling_before_the_neuron, average_pooling, overlapping_average, pooled_shortcut, strided_shortcut, uneven,
    subtracted_mean, summed_levels,
    batch_norm_of_a_sum, torch_layers, functions, mean_of_everything, view_by_shape, no_reduction, no_neuron,
    unused_branch)}
"""Modules for inputs (N, 2, 4, 4) of 0 to 7."""

NEURONS = {
    "gate_sum": lambda: QBLIF(5),
    "gate_sum, beta 1, alpha 0": lambda: QBLIF(5, tau=float("inf"), alpha=0.0),
    "gate_sum, beta 1/8, alpha 3/4": lambda: QBLIF(5, tau=8 / 7, alpha=0.75),
    "gate_membrane": lambda: QBLIF(5, reset="gate_membrane"),
    "gate_membrane, alpha 7/8": lambda: QBLIF(5, beta=0.25, alpha=0.875, reset="gate_membrane"),
    "subtract": lambda: QBLIF(5, reset="subtract"),
    "subtract, alpha 1/4": lambda: QBLIF(5, beta=1.0, alpha=0.25, reset="subtract"),
    "subtract, alpha 0": lambda: QBLIF(5, beta=0.5, alpha=0.0, reset="subtract"),
    "beta 0": lambda: QBLIF(5, tau=1.0),
    "rounding": lambda: QBLIF(5, rounds=True),
    "LIF": lambda: LIF(),
    "LIF, soft reset": lambda: LIF(v_reset=None, decay_input=False, v_threshold=0.5),
    "I-LIF": lambda: ILIF(4),
    "31 levels": lambda: QBLIF(31),
}


def all_cases():
    """Return {name: (module, input)} of everything above."""
    cases = {name: (make(), (5, 2, 4, 4)) for name, make in STILL.items()}
    cases |= {f"neuron {name}": (neuron(make), (3, 2, 4, 4)) for name, make in NEURONS.items()}
    return cases | {"digits": (digits(), (3, 1, 8, 8)), "one_dimensional": (one_dimensional(), (3, 1, 16)),
                    "dense": (dense(), (4, 6)), "events": (events(), (2, 4, 2, 4, 4)),
                    "event_vectors": (nn.Sequential(QLinear(6, 4), QBLIF(3), QLinear(4, 3)), (2, 4, 6)),
                    "event_rows": (nn.Sequential(QConv1d(2, 3, 3), BatchNorm1d(3), QBLIF(3), Flatten(), QLinear(12, 3),
                                                 MeanOverTime()), (2, 4, 2, 6))}


def pixels(shape, seed=0, most=7):
    return torch.randint(0, most + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


@torch.no_grad()
def make_exact(module, seed=0):
    """Fill a module with small multiples of powers of two, for which 8-bit weights and all floats are exact."""
    g = torch.Generator().manual_seed(seed)

    def draw(shape, choices):
        return torch.tensor(choices, dtype=torch.float32)[torch.randint(0, len(choices), shape, generator=g)]

    for m in module.modules():
        if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear):
            m.weight.copy_(draw(m.weight.shape, [-0.5, -0.25, 0.0, 0.25, 0.5]))
            if m.bias is not None:
                m.bias.copy_(draw(m.bias.shape, [-0.5, -0.25, 0.0, 0.25, 1.0]))
        elif isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            m.eps = 0.0
            m.weight.copy_(draw(m.weight.shape, [0.5, 1.0, 1.0, -1.0]))
            m.bias.copy_(draw(m.bias.shape, [-0.5, 0.0, 0.25, 1.0]))
            m.running_mean.copy_(draw(m.running_mean.shape, [-0.5, 0.0, 0.5]))
            m.running_var.copy_(draw(m.running_var.shape, [1.0, 4.0]))
        elif isinstance(m, QBLIF) and m.gamma.requires_grad:
            m.gamma.copy_(draw((), [0.5, 1.0, 2.0]))
    return module.eval()


@torch.no_grad()
def make_random(module, seed=0):
    """Fill a module with parameters as training might leave them."""
    g = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            m.weight.copy_(torch.randn(m.weight.shape, generator=g))
            m.bias.copy_(torch.randn(m.weight.shape, generator=g))
            m.running_mean.copy_(torch.randn(m.weight.shape, generator=g))
            m.running_var.copy_(torch.rand(m.weight.shape, generator=g) + 0.1)
        elif isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear):
            m.weight.copy_(torch.randn(m.weight.shape, generator=g) * 0.4)
        elif isinstance(m, QBLIF) and m.gamma.requires_grad:
            m.gamma.copy_(torch.rand((), generator=g) + 0.2)
    return module.eval()
