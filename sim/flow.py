"""Images on their way through a chain of cores: input, cores and clusters as processes (sim/processes.py).

Mirrors hw/input.py and the control of images and layers in hw/core.py; a cluster's own pipeline is sim/timing.py, and
what happens to its writes sim/handover.py.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from qblif.gen.split import Segment
from qblif.host import abi
from qblif.host.abi import LayerKind
from qblif.hw.occupancy import LATENCY
from qblif.hw.params import CoreParams

from .handover import Between, Merge, Port
from .processes import Clock, Event, Process
from .reads import Reads, blank, entries, without_blank, without_empty
from .timing import FETCHED, HANDED_OVER, IDLE, LOGIT, NEVER, NEXT, PARTS, Neurons, Scan, WriteBack


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCycles:
    """One layer of one image on a core.

    core, layer: where; layer counts from the core's first one. begin: cycle in which its clusters begin; idle: in which
    all are idle again; cycles: from `begin` until the next layer may begin. adds: weight rows, doublings: cycles that
    only double, waited: cycles in which a sum waited for the neuron unit, all summed over the clusters. updates: per
    cluster, int64, the cycles in which the lane groups are issued in the neuron unit.
    """

    core: int
    layer: int
    begin: int
    idle: int
    cycles: int
    adds: int
    doublings: int
    waited: int
    updates: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Programmed:
    """A core and its part of a program.

    config: its row of CONFIG. shares: per layer and cluster, the row of the layer table and what is read for it; None
    where the cluster has no share. segment: its layers. skip_empty: as if empty words were not read."""

    params: CoreParams
    config: dict
    shares: list[tuple[tuple[dict, Reads | None], ...]]
    segment: Segment
    skip_empty: bool = False


class Block:
    """Images that follow each other, from an empty pipeline on.

    Parameters: cores, the chain; images, each a list of the maps as they lie in memory, the network's input first.

    starts, ends: int64 (images,), cycles of the first input beat and of the last logit. layers: of each image.
    """

    def __init__(self, cores: list[Programmed], images: list[list[np.ndarray]]):
        self.starts = np.zeros(len(images), np.int64)
        self._clock = Clock()
        # In a cycle clusters come first, by their numbers; then the merging of their writes, control, input.
        merging = max(core.params.clusters for core in cores)
        control, taking = merging + 1, merging + 2
        ports = [Port(self._clock, core.config["buffer_step"] != 0) for core in cores]
        merges = [Merge(self._clock, Between(self._clock, port, taking), merging) for port in ports[1:]]
        working = [_Core(index, core, self._clock, port, merge)
                   for index, (core, port, merge) in enumerate(zip(cores, ports, [*merges, None], strict=True))]
        self._clock.start(self._input(cores[0], ports[0]), taking)
        for core in working:
            self._clock.start(core.work(images), control)
        self._clock.run()
        self.ends = np.array(working[-1].logits, np.int64)
        self.layers = [tuple(itertools.chain(*of_cores))
                       for of_cores in zip(*(core.layers for core in working), strict=True)]

    def _input(self, core: Programmed, port: Port) -> Process:
        """Send the images' words to the first core, as hw/input.py does."""
        parts, rows = core.params.word_bits // abi.LINK_BITS, core.config["input_row_words"]
        beat = 0                                # first beat of the next image
        for image in range(len(self.starts)):
            self.starts[image] = beat
            word = beat + parts - 1             # last beat of a word
            taken = before = NEVER              # words in the core
            for number in range(1, core.config["input_words"] + 1):
                buffered = max(word, before) + 1
                before = taken
                taken = yield from port.take(max(buffered, taken) + 1, part=number % rows == 0)
                word = max(word, buffered - 1) + parts
            beat = HANDED_OVER + (yield from port.take(max(max(buffered, before) + 1, taken) + 1, commit=True))


class _Core:
    """A core at work: images, layers, clusters."""

    def __init__(self, index: int, core: Programmed, clock: Clock, port: Port, merge: Merge | None):
        self._index, self._core, self._clock, self._port, self._merge = index, core, clock, port, merge
        self._memory = np.zeros((core.params.map_depth, core.params.word_bits // 8), np.uint8)
        self._ended = Event()                   # a cluster has done its share
        self.layers: list[list[LayerCycles]] = []
        self.logits: list[int] = []             # cycles of the last ones

    def work(self, images: list[list[np.ndarray]]) -> Process:
        """Work through the images."""
        segment, port = self._core.segment, self._port
        idle = begun = NEVER
        for image, maps in enumerate(images):
            self.layers.append([])
            begin = max(max(idle, (yield from port.there(image, 1))) + NEXT, begun + FETCHED)
            for layer, shares in enumerate(self._core.shares):
                base, words = segment.bases[segment.first + layer], maps[segment.first + layer]
                self._memory[base:base + len(words)] = words
                yield begin
                done = yield from self._layer(image, layer, begin, shares)
                self.layers[-1].append(done)
                begun, begin = begin, begin + done.cycles
            ended = done.idle
            if shares[0][0]["to_stream"]:       # the map is complete: the next core is told
                ended = yield from self._merge.between.accept(ended + 1, commit=True)
            released = max(ended, (yield from port.there(image)))
            port.release(released)
            idle = released + 1

    def _layer(self, image: int, layer: int, begin: int, shares):
        """Work on a layer with all clusters; returns LayerCycles."""
        streams = shares[0][0]["to_stream"]
        if streams:
            self._merge.begin([row["rows"] for row, _ in shares])
        works = [_Share(begin + IDLE) for _ in shares]
        for cluster, work in enumerate(works):
            self._clock.start(self._cluster(cluster, image, layer, begin, work), cluster)
        while not all(work.done for work in works):
            yield self._ended
        idle = max(work.idle for work in works)
        if streams:
            idle = max(idle, (yield from self._merge.idle()))
        return LayerCycles(
            self._index, layer, begin, idle, max(idle + NEXT - begin, FETCHED), sum(work.adds for work in works),
            sum(work.doublings for work in works), sum(work.waited for work in works),
            tuple(np.array(work.updates, np.int64) for work in works))

    def _cluster(self, cluster: int, image: int, layer: int, begin: int, work: _Share) -> Process:
        """Work on a layer as one cluster."""
        row, read = self._core.shares[layer][cluster]
        params, port = self._core.params, self._port
        if read is not None:
            bits = entries(read, self._memory)
            answer = 0                          # cycles that an output row takes to know where its input is empty
            if row.get("window_bits", 0):
                answer = row["window_rows"] + row["window_bits"] + LATENCY - 1
                found = blank(row, self._core.config, params, self._memory, self._core.segment.bases[0])
                read, bits = without_blank(read, bits, found, row["sources"])
            if self._core.skip_empty:
                read, bits = without_empty(read, bits)
            start, waits = begin, not port.complete(image, begin)
            if waits:
                start = max(begin + 1, (yield from port.there(image, row["input_first"], PARTS))) + answer
            elif answer:
                start = begin + 1 + answer
            scan = Scan(read, bits, params, start)
            write = functools.partial(self._write, work, cluster, row["to_stream"])
            writeback = WriteBack(row, params, write)
            neurons = Neurons(row, params, writeback)
            for number in range(read.sums):
                output_row, within = divmod(number, read.sums // row["rows"])
                if (waits or answer) and number and not within:
                    waits = waits and not port.complete(image, scan.turned)
                    if waits:
                        needed = row["input_first"] + output_row * row["input_step"]
                        scan.hold(max(scan.turned + 1, (yield from port.there(image, needed, PARTS))) + answer)
                    elif answer:
                        scan.hold(scan.turned + 1 + answer)
                yield from neurons.take(scan.next(neurons.may))
            work.adds, work.doublings, work.waited = bits.adds, bits.doublings, scan.waited
            work.updates = neurons.updates
            work.idle = neurons.idle if row["kind"] == LayerKind.READOUT else work.left + IDLE
            if row["kind"] == LayerKind.READOUT:
                group, lane = divmod(row["classes"] - 1, params.lanes)
                self.logits.append(neurons.logits[group] + LOGIT + neurons.logit(lane))
        work.done = True
        self._clock.fire(self._ended)

    def _write(self, work: _Share, cluster: int, to_stream: bool, at: int, planes: int, ends_row: bool):
        """Write the planes of a lane group; returns the cycle in which the last one goes to the cluster's buffer."""
        if not to_stream and self._core.params.clusters == 1:
            work.left = yield from self._port.write(at + 1, planes)         # nobody comes in between
            return work.left - 1
        for plane in range(planes):
            at = max(at, work.left_before + 1)
            work.left_before, offered = work.left, max(at, work.left) + 1
            if to_stream:
                work.left = yield from self._merge.write(cluster, offered, ends_row and plane == planes - 1)
            else:
                work.left = yield from self._port.write(offered)
            at += 1
        return at - 1


@dataclasses.dataclass(eq=False)
class _Share:
    """What a cluster does of a layer, as in LayerCycles.

    left, left_before: cycles in which its last map write and the one before leave its buffer."""

    idle: int
    left: int = NEVER
    left_before: int = NEVER
    done: bool = False
    adds: int = 0
    doublings: int = 0
    waited: int = 0
    updates: list[int] = dataclasses.field(default_factory=list)
