"""Evaluation over a test set: accuracies, counts and histograms equal those of the golden model's own records."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from qblif import gen
from qblif.gen.network import NeuronLayer
from qblif.host.errors import InputError
from qblif.sim import golden, tables
from qblif.sim.evaluation import chosen, evaluate_network
from qblif.sim.random_networks import random_input, random_network


@dataclasses.dataclass
class Set:
    """A test set in memory, as qblif.gen.data gives them."""

    x: torch.Tensor
    y: torch.Tensor
    axis: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index):
        return self.x.index_select(self.axis, index), self.y[index]


def random_set(network, count=7, seed=0) -> Set:
    x = torch.from_numpy(random_input(network, seed, count))
    y = torch.from_numpy(np.random.default_rng(seed).integers(0, network.classes, count))
    return Set(x, y, 0 if network.input.static else 1)


@pytest.mark.parametrize("seed", range(8))
def test_an_evaluation_in_batches_equals_the_records_of_one_run(seed):
    network = random_network(seed)
    data = random_set(network)
    found = evaluate_network(network, data, data="random", batch=3)
    whole = golden.run(network, data.x, record=True, count=True)

    assert found.predictions.tolist() == whole.predictions.tolist()
    sums = whole.records[-1].membrane[..., 0, 0]
    assert found.by_step == pytest.approx([(step.argmax(1) == data.y.numpy()).mean() for step in sums])
    assert found.golden_accuracy == found.by_step[-1]
    assert found.sops == pytest.approx(sum(layer.sops.sum() for layer in whole.counts) / 7)
    for strategy, additions in found.additions.items():
        assert additions == pytest.approx(sum(layer.additions[strategy].sum() for layer in whole.counts) / 7)
    levels = [layer.neuron.levels for layer in network.layers if isinstance(layer, NeuronLayer)]
    assert list(found.levels) == (levels if len(set(levels)) > 1 else levels[:1])
    assert found.macs == sum(layer.macs for layer in whole.counts)
    assert found.input.histogram.tolist() == \
        np.bincount(data.x.numpy().ravel(), minlength=1 << network.input.bits).tolist()
    for layer, work, record in zip(network.layers, found.layers, whole.records, strict=True):
        if isinstance(layer, NeuronLayer):
            assert work.levels.histogram.tolist() == \
                np.bincount(record.levels.ravel(), minlength=layer.neuron.levels + 1).tolist()
        else:
            assert work.levels is None


def test_steps_in_between_are_what_a_network_of_fewer_steps_says():
    network = next(n for n in map(random_network, range(40)) if n.input.static and n.steps > 2)
    data = random_set(network, 20)
    whole = evaluate_network(network, data)
    fewer = evaluate_network(network, data, steps=2)
    assert fewer.steps == 2
    assert fewer.by_step == whole.by_step[:2]


def small_module(steps=2):
    torch.manual_seed(0)
    return nn.Sequential(gen.InputScale(1 / 16, bits=5), gen.QConv2d(1, 6, 3), gen.BatchNorm2d(6), gen.Repeat(steps),
                         gen.QBLIF(3), gen.Flatten(), gen.QLinear(6 * 36, 5), gen.MeanOverTime()).eval()


def test_quantised_and_float_accuracy_are_those_of_the_modules_and_no_prediction_differs():
    module = small_module()
    quantised = gen.quantise(module, torch.zeros(1, 1, 8, 8), weight_bits=4)
    network = gen.fold(quantised)
    data = random_set(network, 50)
    found = evaluate_network(network, data, quantised=quantised, module=module, batch=16)
    assert found.different == ()
    assert found.quantised_accuracy == found.golden_accuracy
    with torch.no_grad():
        assert found.float_accuracy == pytest.approx(float((module(data.x.float()).argmax(1) == data.y).float().mean()))


def test_predictions_that_differ_are_counted_and_named():
    quantised = gen.quantise(small_module(), torch.zeros(1, 1, 8, 8))
    network = gen.fold(quantised)
    data = random_set(network, 20)
    readout = network.layers[-1]
    bias = readout.bias.copy()
    bias[4] += 1 << 20                                              # class 4 always wins
    wrong = dataclasses.replace(network, layers=(*network.layers[:-1], dataclasses.replace(readout, bias=bias)))
    found = evaluate_network(wrong, data, quantised=quantised)
    expected = golden.run(network, data.x).predictions
    assert [(i, g, q) for i, g, q in found.different] == [(i, 4, p) for i, p in enumerate(expected) if p != 4]
    assert f"{len(found.different)} of 20 predictions differ, none may" in tables.evaluations([found])


def test_a_limit_takes_images_evenly_from_the_whole_set():
    assert chosen(10, None).tolist() == list(range(10))
    assert chosen(10, 4).tolist() == [0, 2, 5, 7]
    assert chosen(3, 9).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="limit is 0, allowed is 1 or more"):
        chosen(10, 0)
    with pytest.raises(InputError, match="test set is empty"):
        chosen(0, None)


def test_data_of_another_network_and_steps_of_events_are_refused():
    static = next(n for n in map(random_network, range(40)) if n.input.static)
    events = next(n for n in map(random_network, range(40)) if not n.input.static)
    data = random_set(static)
    with pytest.raises(InputError, match="the labels go from"):
        evaluate_network(static, Set(data.x, data.y + static.classes))
    with pytest.raises(InputError):
        evaluate_network(static, Set(data.x[..., :0], data.y))
    with pytest.raises(InputError, match="its T is .* cannot be 3"):
        evaluate_network(dataclasses.replace(events, steps=2), random_set(events), steps=3)


def test_the_tables_and_the_json_hold_what_was_found():
    network = next(n for n in map(random_network, range(40)) if n.input.static and n.steps > 1)
    data = random_set(network)
    reported = []
    found = evaluate_network(network, data, data="random", batch=4, limit=6, progress=lambda *a: reported.append(a[:2]))
    assert reported == [(4, 6), (6, 6)]
    text = tables.evaluations([found])
    for word in (network.name, "6 of 7", "dense MACs", "additions unary", "read out after step", "effective", "uJ"):
        assert word in text, word
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["images"] == 6 and plain["available"] == 7
    assert plain["layers"][0]["name"] == network.layers[0].name
    assert plain["energy"]["microjoules"] == pytest.approx(found.energy.microjoules)
