"""The loop by itself: what an epoch reports, and batches that are too small."""

import pytest
import torch
from torch.nn import functional as F

from qblif.gen.training import Phase, Recipe, Samples
from qblif.gen.training.distributed import Team
from qblif.host.errors import InputError


def samples(count):
    x = torch.randint(0, 9, (count, 6), generator=torch.Generator().manual_seed(1))
    return Samples(x, (x[:, 0] > 4).long())


def test_the_loss_is_the_mean_of_the_samples_that_were_trained_on():
    """Of 9 samples in batches of 4 the last one is left out: with it, the loss would be 8/9 of what it is."""
    module = torch.nn.Linear(6, 2)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    loop = Phase(module, samples(9), Recipe(batch=4, smoothing=0.0), 1, rate=0.0)
    epoch = loop.epoch()
    assert epoch.loss == pytest.approx(float(F.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))))
    assert loop.step == 2


@pytest.mark.parametrize(("count", "batch", "size", "message"), [
    (3, 64, 2, r"a batch has 3 of 3 training samples \(train.batch is 64\), allowed are 2 or more for each of 2 proc"),
    (100, 6, 4, r"a batch has 6 of 100 training samples \(train.batch is 6\)"),
    (1, 64, 1, "a batch has 1 of 1 training samples"),
])
def test_batches_of_which_nothing_would_be_seen_are_refused(count, batch, size, message):
    with pytest.raises(InputError, match=message):
        Phase(torch.nn.Linear(6, 2), samples(count), Recipe(batch=batch), 1, 0.1, team=Team(0, size))
