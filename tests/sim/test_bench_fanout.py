"""The emitted fan-out, in two simulators: levels times weights, by additions alone, for both fan-outs."""

import random

import pytest

from qblif.host.abi import MemoryId
from qblif.hw.params import FANOUTS, CoreParams
from qblif.hw.words import entry as entry_layout
from qblif.sim.bench import runner
from qblif.sim.bench.fan_out import FanOut

from .benches import BOTH

PARAMS = CoreParams(lanes=8, word_bits=32, neuron_lanes=2, weight_bits=5, acc_bits=18, weight_depth=128)
WORDS = 3
"""Words of ordinary inputs; the weight rows behind theirs are those of diagonal ones."""


def entries(words, fanout):
    """Return scan entries that spell out one sum.

    words: (levels of the word's bits, weight row of bit 0, diagonal), scanned one after the other in each plane.
    """
    found, pending, planes = [], 0, max(level for levels, _, _ in words for level in levels).bit_length()
    for plane in reversed(range(planes)):
        pending += fanout == "double" and plane != planes - 1
        for again in range(1 if fanout == "double" else 1 << plane):
            for levels, weight, diagonal in words:
                bits = sum((level >> plane & 1) << index for index, level in enumerate(levels))
                if bits:
                    found.append({name: 0 for name, _ in entry_layout(PARAMS)} | {
                        "bits": bits, "weight": weight, "before": pending if found else 0, "first": not found,
                        "diagonal": diagonal, "again": int(again > 0)})
                    pending = 0
    if not found:
        return [{"bits": 0, "first": 1, "last": 1}]
    found[-1] |= {"last": 1, "after": pending}
    return found


def lane_weights(words, weights):
    """Return Σ level · weight of every lane, in plain integers."""
    total = [0] * PARAMS.lanes
    for levels, first, diagonal in words:
        for index, level in enumerate(levels):
            for lane in range(PARAMS.lanes):
                if diagonal:
                    total[lane] += level * weights[first][lane] * (lane == index % PARAMS.lanes)
                else:
                    total[lane] += level * weights[first + index][lane]
    return total


def random_words(rng, top):
    """Return words of random density; in diagonal ones all bits lie in one chunk of `lanes` bits."""
    words = []
    for word in range(WORDS):
        density = rng.choice([0, 0.05, 0.3, 1])
        words.append(([rng.choice([top, rng.randint(0, top)]) if rng.random() < density else 0 for _ in range(32)],
                      32 * word, 0))
    bank = rng.randrange(PARAMS.banks)
    lanes = [rng.randint(0, top) if rng.random() < 0.5 else 0 for _ in range(PARAMS.lanes)]
    words.append(([0] * (bank * PARAMS.lanes) + lanes, rng.randint(32 * WORDS, 127), 1))
    return rng.sample(words, len(words))


def vectors(seed, sums):
    """Return as many sums by each fan-out, mixed."""
    rng = random.Random(seed)
    weights = [[rng.choice([-16, 15, rng.randint(-16, 15)]) for _ in range(PARAMS.lanes)] for _ in range(128)]
    items, expected, adds = [], [], 0
    for _ in range(sums):
        for fanout in rng.sample(FANOUTS, 2):
            words = random_words(rng, rng.choice([1, 3, 5]) if fanout == "unary" else rng.choice([1, 4, 20, 31]))
            found = entries(words, fanout)
            items += found
            expected.append(lane_weights(words, weights))
            adds += sum(1 if item.get("diagonal") else item["bits"].bit_count() for item in found)
    rows = [sum((weight & 31) << 5 * lane for lane, weight in enumerate(row)) for row in weights]
    return {"memory": int(MemoryId.WEIGHTS), "weights": rows, "chunks": PARAMS.chunks, "entries": items,
            "sums": expected, "adds": adds}


def test_one_level_takes_as_many_additions_as_it_has_set_bits_or_units():
    level = [([0, 13], 0, 0)]
    assert sum(item["bits"].bit_count() for item in entries(level, "double")) == 3
    assert sum(item["bits"].bit_count() for item in entries(level, "unary")) == 13


@pytest.mark.parametrize("simulator", BOTH)
def test_levels_times_weights_by_additions_alone(simulator, tmp_path):
    assert runner.run(FanOut(PARAMS), "qblif.sim.bench.fanout_bench", vectors(1, 3), tmp_path, simulator) == 4


@pytest.mark.long
@pytest.mark.parametrize("simulator", BOTH)
def test_many_sums(simulator, tmp_path):
    cases = vectors(2, 40)
    assert runner.run(FanOut(PARAMS), "qblif.sim.bench.fanout_bench", cases, tmp_path, simulator, seed=2) == 4
