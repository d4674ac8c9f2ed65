"""A cluster: scan, accumulate, update, write back, over its own copy of the feature maps."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from .accumulate import Accumulators
from .baked import EMPTY, Contents
from .layer_table import LayerTable
from .layouts import LoadBus, logit, map_stream, map_write, trace
from .link import Buffer
from .neuron import NeuronUnit
from .occupancy import Occupancy
from .params import CoreParams
from .runs import RunGenerator
from .scan import BitScanner
from .sequencer import Sequencer
from .weights import WeightPort
from .words import WordReader
from .writeback import WriteBack

EVENTS = ("adds", "set_bits", "masks", "doublings", "starved", "neuron_stalls", "turnaround", "input_stalls")
"""abi.COUNTERS that a cluster counts."""


class Cluster(wiring.Component):
    """One pipeline of a core. It works through a layer by its own tables: a subset of the columns or lane groups.

    Members
    -------
    load: In, program rows (already filtered for this cluster).
    weights: Out, where its weights are.
    layer_index: In, the row of the layer table in work, for the trace; begin: In, one cycle: work on it.
    next_index, read, take: In, ready: Out, how that row gets there (layer_table.LayerTable); `take` two cycles before
    `begin`.
    buffer: In, words to add to addresses of input sources. parts: In, parts of the input map that are there; complete:
    In, all of them are. rests: In, the image is done and its map is still to come.
    write: In, a write to the feature maps, applied in this cycle when `valid` (commit is ignored).
    fills, fill, work: In, as in hw/occupancy.py; present where the core has `occupancy`.
    o: Out, stream of map writes; to_stream: Out, they are meant for the next core; takes_part: Out, there are any.
    logits: Out. idle: Out, the layer is done. active: In, an image is in work.
    events: Out, one bit per entry of EVENTS, counted by the core. trace: Out, present when params.trace.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        members = {
            "load": In(LoadBus(params)),
            "weights": Out(WeightPort(params)),
            "layer_index": In(range(params.layer_depth)),
            "begin": In(1),
            "next_index": In(range(params.layer_depth)),
            "read": In(1),
            "ready": Out(1),
            "take": In(1),
            "buffer": In(24),
            "parts": In(16),
            "complete": In(1),
            "rests": In(1),
            "write": In(wiring.Signature({"valid": Out(1), "p": Out(map_write(params))})),
            "o": Out(map_stream(params)),
            "to_stream": Out(1),
            "takes_part": Out(1),
            "logits": Out(stream.Signature(logit)),
            "active": In(1),
            "idle": Out(1),
            "events": Out(data.StructLayout(dict.fromkeys(EVENTS, 1))),
        }
        if params.occupancy:
            members |= {"fills": In(1), "fill": In(1), "work": In(1)}
        if params.trace:
            members["trace"] = Out(wiring.Signature({"valid": Out(1), "p": Out(trace(params))}))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        p = self._params

        m.submodules.layers = layers = LayerTable(p, self._contents)
        layer = layers.layer
        m.d.comb += [layers.index.eq(self.next_index), layers.read.eq(self.read), layers.take.eq(self.take),
                     self.ready.eq(layers.ready)]

        # Feature maps: one bank per chunk, so that a chunk can be written alone.
        word = []
        read_address = Signal(p.map_bits)
        for bank in range(p.banks):
            m.submodules[f"map_{bank}"] = maps = Memory(shape=p.lanes, depth=p.map_depth, init=[],
                                                        attrs={"no_rw_check": 1, "ram_style": "block"})
            port, out = maps.write_port(), maps.read_port()
            m.d.comb += [
                port.en.eq(self.write.valid & ~self.write.p.commit & self.write.p.enable[bank]),
                port.addr.eq(self.write.p.address),
                port.data.eq(self.write.p.data.word_select(bank, p.lanes)),
                out.addr.eq(read_address),
            ]
            word.append(out.data)

        m.submodules.sequencer = sequencer = Sequencer(p, self._contents)
        m.submodules.runs = runs = RunGenerator(p)
        m.submodules.words = words = WordReader(p)
        m.submodules.scanner = scanner = BitScanner(p)
        m.submodules.accumulators = accumulators = Accumulators(p)
        m.submodules.neurons = neurons = NeuronUnit(p, self._contents)
        m.submodules.writeback = writeback = WriteBack(p)
        # Whose write is taken is decided between the clusters: the write-back does not depend on it.
        m.submodules.writes = writes = Buffer(map_write(p))

        connect(m, fields=sequencer.o, runs=runs.i)
        connect(m, runs=runs.o, words=words.i)
        connect(m, words=words.o, scanner=scanner.i)
        connect(m, sums=accumulators.o, neurons=neurons.i)
        connect(m, levels=neurons.o, writeback=writeback.i)
        connect(m, inner=neurons.logits, outer=flipped(self.logits))
        connect(m, writeback.o, writes.i)
        connect(m, inner=writes.o, outer=flipped(self.o))
        connect(m, inner=accumulators.weights, outer=flipped(self.weights))
        for part in (layers, sequencer, neurons):
            connect(m, load=flipped(self.load), part=part.load)
        m.d.comb += [
            read_address.eq(words.address), words.data.eq(Cat(word)),
            accumulators.i.eq(scanner.o), scanner.released.eq(neurons.released),
            neurons.credit.eq(writeback.credit), writeback.issued.eq(neurons.issued),
            neurons.layer_index.eq(self.layer_index),
            sequencer.buffer.eq(self.buffer), sequencer.parts.eq(self.parts), sequencer.complete.eq(self.complete),
            self.to_stream.eq(layer.to_stream),
        ]
        m.d.sync += self.takes_part.eq(layer.rows != 0)
        for part in (sequencer, neurons, writeback):
            m.d.comb += [part.layer.eq(layer), part.begin.eq(self.begin)]

        if p.occupancy:
            m.submodules.occupancy = occupancy = Occupancy(p)
            m.d.comb += [
                occupancy.write.eq(self.write.p), occupancy.fills.eq(self.fills), occupancy.fill.eq(self.fill),
                occupancy.work.eq(self.work), occupancy.layer.eq(layer), occupancy.complete.eq(self.complete),
                *(getattr(occupancy, name).eq(getattr(sequencer, name))
                  for name in ("ask", "needed", "moves", "ends", "last")),
                sequencer.known.eq(occupancy.ready), sequencer.blank.eq(occupancy.blank),
            ]

        scanning = Signal()         # fields, words or events of the layer are still to come or under way
        ended = sequencer.idle & runs.idle & words.idle & scanner.idle & accumulators.idle
        m.d.sync += self.idle.eq(ended & neurons.idle & writeback.idle & ~writes.o.valid & ~self.begin)

        # They follow from all parts of the cluster, so these are looked at a cycle later, and told another one later.
        events = Signal(data.StructLayout(dict.fromkeys(EVENTS, 1)))
        kept = ("valid", "add", "double", "diagonal", "again")
        retired = Signal(data.StructLayout(dict.fromkeys(kept, 1)))
        over, begun, active, stalled, waits = (Signal(name=name) for name in (
            "over", "begun", "active", "stalled", "waits"))
        m.d.sync += [
            *(retired[name].eq(scanner.o[name]) for name in kept),
            over.eq(ended), begun.eq(self.begin), active.eq(self.active),
            stalled.eq(scanner.stalled), waits.eq(sequencer.waits | self.rests), self.events.eq(events),
        ]
        starved, turnaround = Signal(), Signal()
        with m.If(retired.valid):
            m.d.sync += scanning.eq(1)
        with m.Elif(over | begun):
            m.d.sync += scanning.eq(0)
        add = retired.valid & retired.add
        m.d.comb += [
            events.adds.eq(add), events.masks.eq(add & retired.diagonal),
            events.set_bits.eq(add & ~retired.diagonal & ~retired.again),
            events.doublings.eq(retired.valid & ~retired.add & retired.double),
            events.neuron_stalls.eq(stalled),
            starved.eq(~stalled & scanning & ~over & ~(retired.valid & (retired.add | retired.double))),
            turnaround.eq(active & ~stalled & ~(scanning & ~over) & ~retired.valid),
            events.starved.eq(starved & ~waits), events.turnaround.eq(turnaround & ~waits),
            events.input_stalls.eq((starved | turnaround) & waits),
        ]
        with m.If(retired.valid & ~scanning & ~retired.add & ~retired.double):
            m.d.comb += starved.eq(1)           # a sum of nothing, at the very start

        if p.trace:
            connect(m, inner=neurons.trace, outer=flipped(self.trace))
        return m
