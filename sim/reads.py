"""What a cluster reads for a layer: the words of all fields, in the order of the hardware, from the plan's tables.

The loops are those of hw/sequencer.py, hw/runs.py and hw/words.py. Which words are read depends on the tables alone;
the bits in them depend on the image. A *sum* is what the accumulators finish and the neuron unit takes: one per output
position, lane group and time step, and for max pooling one per tap of the window.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from qblif.host.abi import LayerKind
from qblif.hw.params import CoreParams

_POPCOUNT = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class Reads:
    """The words that a cluster reads for a layer.

    visits: (taps,) cycles of the sequencer in which the source of this tap, and before it those without a plane in
        their step, are visited; 0 where the tap is not the first one of its field
    words: (taps,) words of the tap's run; 0 where the run is dropped
    sum_words: (sums,) index of the first word behind each sum
    address: (words,) in the feature-map memory
    mask: (words, word_bits / 8) uint8, the bits that lie in the field
    doublings: (words,) scan steps since the field before
    diagonal: (words,) bool, the word is a lane mask
    """

    visits: np.ndarray
    words: np.ndarray
    sum_words: np.ndarray
    address: np.ndarray
    mask: np.ndarray
    doublings: np.ndarray
    diagonal: np.ndarray

    @property
    def sums(self) -> int:
        """Number of sums."""
        return len(self.sum_words)


@dataclasses.dataclass(frozen=True, eq=False)
class Entries:
    """What the scan makes of the words of an image: those with set bits, and one for each sum without any.

    some: (words,) bool, the word becomes an entry because it has bits
    cycles: (entries,) cycles in the scan: set bits (one for a lane mask), and doublings that ride on none of them
    groups: (entries,) groups of eight bits that are not empty
    last, before_last: (entries,) cycles of the last group, and of the one before it
    adds: weight rows added; doublings: cycles that only double
    """

    some: np.ndarray
    cycles: np.ndarray
    groups: np.ndarray
    last: np.ndarray
    before_last: np.ndarray
    adds: int
    doublings: int


def fields(layer: dict, sources: list[dict], fanout: str) -> list[tuple[int, int, int, int]]:
    """Return (source, plane, doublings, visits) of the fields of one sum, in order.

    For max pooling the source is 0: each tap of the window has a sum of its own."""
    top = layer["planes"] - 1
    unary, pooling = fanout == "unary", layer["kind"] == LayerKind.MAX
    found, doublings, visits = [], 0, 0
    for q in range(top, -1, -1):
        for again in range(1 << q if unary else 1):
            for index, source in enumerate(sources[:1] if pooling else sources):
                visits += 1
                doublings += not unary and q != top and again == 0 and index == 0
                if source["exponent"] <= q < source["exponent"] + source["planes"]:
                    found.append((index, q - source["exponent"], doublings, visits))
                    doublings = visits = 0
    return found


def reads(layer: dict, sources: list[dict], params: CoreParams) -> Reads:
    """Return what a cluster reads for a row of its layer table.

    layer, sources: rows of the tables (host/abi.py), `sources` those of this layer."""
    width = params.word_bits
    low = (width - 1).bit_length()
    pooling = layer["kind"] == LayerKind.MAX

    # The fields' taps: axis 1. What is the same for all sums.
    taps = []
    pattern = fields(layer, sources, params.fanout)
    for number, (index, plane, doublings, visits) in enumerate(pattern):
        source = sources[index]
        places = list(itertools.product(range(source["tap_rows"]), range(source["tap_cols"])))
        for place in places:
            first, last = place == places[0], place == places[-1]
            flagged = (first and (number == 0 or doublings)) or (last and number == len(pattern) - 1)
            taps.append((index, plane, *place, visits * first, doublings * first, flagged))
    of, plane, tap_row, tap_col, visits, doublings, flagged = np.array(taps, np.int64).T

    # The sums: axis 0.
    steps = 1 if layer["static"] else layer["steps"]
    loops = [layer["rows"], layer["groups"], layer["cols"], steps] + ([len(sources)] if pooling else [])
    row, group, col, step, *window = (axis.reshape(-1, 1) for axis in np.indices(loops, np.int64))
    if pooling:
        (of,) = window

    def value(name):
        return np.array([source[name] for source in sources], np.int64)[of]

    diagonal = value("diagonal")
    y = value("y_init") + row * value("y_step") + tap_row * value("tap_dy")
    x = (value("x_init") + col * value("x_step") + tap_col * value("tap_col_step")
         + diagonal * group * layer["group_bits"])
    last_bit = np.minimum(x + value("run_bits"), value("x_limit")) - 1
    empty = (y < 0) | (y >= value("y_limit")) | (x >= value("x_limit")) | (x + value("run_bits") <= 0)
    first_bit = np.maximum(x, 0)
    count = np.where(empty, flagged != 0, (last_bit >> low) - (first_bit >> low) + 1)
    address = (value("row_init") + row * value("row_step") + step * value("step_step") + plane * value("plane_step")
               + tap_row * value("tap_row_step"))

    # Flat: one element per word, in the order of the sums.
    shape, flat_count = count.shape, count.ravel()

    def spread(array):
        return np.repeat(np.broadcast_to(array, shape).ravel(), flat_count)

    ends = np.cumsum(flat_count)
    place = np.arange(ends[-1]) - np.repeat(ends - flat_count, flat_count)     # of a word in its run
    first_bit, last_bit, empty = spread(first_bit), spread(last_bit), spread(empty)
    word = (first_bit >> low) + place
    from_bit = np.where(place == 0, first_bit & width - 1, 0)
    to_bit = np.where(word == last_bit >> low, last_bit & width - 1, width - 1)
    byte = 8 * np.arange(width // 8)
    above = np.left_shift(0xFF, np.clip(from_bit[:, None] - byte, 0, 8)) & 0xFF
    below = np.right_shift(0xFF, np.clip(byte + 7 - to_bit[:, None], 0, 8))
    mask = np.where(empty[:, None], 0, above & below).astype(np.uint8)
    return Reads(
        visits=np.broadcast_to(visits, shape).ravel(), words=flat_count, sum_words=ends.reshape(shape)[:, -1],
        address=(spread(address) + word) % params.map_depth, mask=mask,
        doublings=spread(doublings) * (place == 0), diagonal=spread(diagonal).astype(bool))


def without_empty(reads: Reads, entries: Entries) -> tuple[Reads, Entries]:
    """Return what were read if words without set bits, and planes without any in the field, were not even looked at.

    Of a sum without bits one word stays, which is its entry. The entries are the same."""
    kept = entries.some.copy()
    silent = ~np.bitwise_or.reduceat(kept, np.concatenate(([0], reads.sum_words[:-1])))
    kept[reads.sum_words[silent] - 1] = True
    taps = np.arange(len(reads.words))
    words = np.bincount(np.repeat(taps, reads.words)[kept], minlength=len(taps))
    stays = words > 0
    begins = reads.visits > 0               # taps that begin a field; what is left of it begins with another one
    field = (np.cumsum(begins) - 1)[stays]
    visits = np.where(np.append(True, field[1:] != field[:-1]), reads.visits[begins][field], 0)
    fewer = dataclasses.replace(
        reads, visits=visits, words=words[stays], sum_words=np.cumsum(kept)[reads.sum_words - 1],
        address=reads.address[kept], mask=reads.mask[kept], doublings=reads.doublings[kept],
        diagonal=reads.diagonal[kept])
    return fewer, dataclasses.replace(entries, some=entries.some[kept])


def blank(layer: dict, config: dict, params: CoreParams, memory: np.ndarray, base: int) -> np.ndarray:
    """Return which sums of a layer that asks are blank, bool, in their order: hw/occupancy.py for a whole layer.

    layer: a row of its table; base: word of the input map in `memory`, uint8 (map_depth, word_bits / 8)."""
    words, row_words = config["input_words"], config["input_row_words"]
    rows = memory[base:base + words].reshape(words // row_words, row_words, -1)
    seen = np.unpackbits(np.bitwise_or.reduce(rows, axis=1), axis=1, bitorder="little").astype(bool)
    after = layer["input_first"] + np.arange(layer["rows"]) * layer["input_step"]
    bits = layer["window_first"] + np.arange(layer["cols"]) * layer["window_step"]
    some = [[seen[max(0, row - layer["window_rows"]):row, max(0, bit + 1 - layer["window_bits"]):bit + 1].any()
             for bit in bits] for row in after]
    steps = 1 if layer["static"] else layer["steps"]
    shape = (layer["rows"], layer["groups"], layer["cols"], steps)
    return np.broadcast_to(~np.array(some)[:, None, :, None], shape).ravel()


def without_blank(reads: Reads, entries: Entries, blank: np.ndarray, sources: int) -> tuple[Reads, Entries]:
    """Return what is read where blank sums are one visit of each source, and one word, which is their entry."""
    taps = len(reads.words) // reads.sums
    kept = ~np.repeat(blank, np.diff(reads.sum_words, prepend=0))
    kept[reads.sum_words[blank] - 1] = True
    stays, visits, words = ~np.repeat(blank, taps), reads.visits.copy(), reads.words.copy()
    ends = np.flatnonzero(blank) * taps + taps - 1
    stays[ends], visits[ends], words[ends] = True, sources, 1
    fewer = dataclasses.replace(
        reads, visits=visits[stays], words=words[stays], sum_words=np.cumsum(kept)[reads.sum_words - 1],
        address=reads.address[kept], mask=reads.mask[kept], doublings=reads.doublings[kept],
        diagonal=reads.diagonal[kept])
    return fewer, dataclasses.replace(entries, some=entries.some[kept])


def entries(reads: Reads, memory: np.ndarray) -> Entries:
    """Return what the scan makes of the words. memory: feature maps, uint8 (map_depth, word_bits / 8)."""
    bits = _POPCOUNT[memory[reads.address] & reads.mask]
    some = bits.any(axis=1)
    bits[reads.diagonal] = 0
    bits[reads.diagonal, 0] = some[reads.diagonal]          # a lane mask is one event
    sums = np.repeat(np.arange(reads.sums), np.diff(reads.sum_words, prepend=0))
    begins = np.concatenate(([0], reads.sum_words[:-1]))

    # An entry per word with bits; where a sum has none, its last word.
    silent = ~np.bitwise_or.reduceat(some, begins)
    chosen = some.copy()
    chosen[reads.sum_words[silent] - 1] = True
    kept = np.flatnonzero(chosen)
    bits, of = bits[kept].astype(np.int64), sums[kept]

    # Doublings since the entry before it in its sum; those before a sum's first entry double nothing. The first of them
    # rides on the entry's first addition. Those behind the last entry take a cycle each.
    total = np.cumsum(reads.doublings)
    first = np.append(True, of[1:] != of[:-1])
    last = np.append(of[1:] != of[:-1], True)
    before = np.where(first, 1, np.diff(total[kept], prepend=0))
    extra = np.maximum(before - 1, 0)
    after = np.where(last & some[kept], total[reads.sum_words[of] - 1] - total[kept], 0)

    index = np.arange(bits.shape[1])
    busy = bits > 0
    groups = np.maximum(busy.sum(axis=1), 1)
    rows = np.arange(len(kept))
    top = np.where(busy, index, -1).max(axis=1)
    second = np.where(busy & (index < top[:, None]), index, -1).max(axis=1)
    count = bits.sum(axis=1)
    last_group = np.where(top >= 0, bits[rows, top], 1) + after + np.where(groups == 1, extra, 0)
    before_last = np.where(second >= 0, bits[rows, second] + np.where(groups == 2, extra, 0), 0)
    adds = int(count.sum())
    return Entries(some, np.maximum(count, 1) + extra + after, groups, last_group, before_last, adds,
                   int(extra.sum() + after.sum()))
