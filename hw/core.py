"""A core: clusters that work through the layers of its program, image by image."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import connect, flipped

from qblif.host import abi

from .baked import EMPTY, Contents
from .cluster import EVENTS, Cluster
from .counters import Counters
from .layouts import CoreSignature, abi_row, logit, row_for
from .link import Buffer
from .merge import Merge
from .params import CoreParams, weight_banks
from .weights import WeightBank


class State(enum.Enum):
    """What the core is doing."""

    IDLE = 0
    TAKE = 1
    LATCH = 2
    BEGIN = 3
    RUN = 4
    COMMIT = 5
    REST = 6


class Core(wiring.Component):
    """Clusters, their weights, the control of layers and images, input buffers, counters. Ports: layouts.CoreSignature.

    The clusters work on one layer at a time, each by its own tables; the next layer begins when all are idle.
    Writes of one cluster go to the maps of all, or to the next core. The input map has one or two buffers
    (CONFIG.buffer_step); with two, the next image arrives while one is in work. An image begins when the first part of
    its map is there; output rows wait for the parts that they read. Three cycles from the end of a layer to the
    beginning of the next.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        super().__init__(CoreSignature(params))

    def elaborate(self, platform):
        m = Module()
        p = self._params
        config = Signal(abi_row(abi.CONFIG_FIELDS), reset_less=True,
                        init=next(iter(self._contents.table(abi.MemoryId.CONFIG, abi.CONFIG_FIELDS)), {}))
        with m.If(row_for(m, self.load, abi.MemoryId.CONFIG)):
            m.d.sync += config.eq(self.load.data)
        m.d.comb += [self.input_words.eq(config.input_words), self.input_row_words.eq(config.input_row_words)]

        m.submodules.merge = merge = Merge(p)

        def load(part, mine):
            """Pass program rows on to a part, those that are `mine`."""
            m.d.comb += [
                part.load.memory.eq(self.load.memory), part.load.cluster.eq(self.load.cluster),
                part.load.address.eq(self.load.address), part.load.data.eq(self.load.data),
                part.load.valid.eq(self.load.valid & mine),
                part.load.beat_valid.eq(self.load.beat_valid & mine), part.load.beat.eq(self.load.beat),
                part.load.place.eq(self.load.place),
            ]

        clusters, mine = [], Signal(p.clusters)
        for index in range(p.clusters):
            m.submodules[f"cluster_{index}"] = cluster = Cluster(p, self._contents.cluster(index))
            clusters.append(cluster)
            m.d.sync += mine[index].eq((self.load.cluster == index) | (self.load.cluster == abi.ALL_CLUSTERS))
            load(cluster, mine[index])
            if p.trace:
                connect(m, inner=cluster.trace, outer=flipped(self.trace[index]))
        for number, readers in enumerate(weight_banks(p.clusters)):
            rows = self._contents.memory(abi.MemoryId.WEIGHTS, readers.start)
            m.submodules[f"weights_{number}"] = bank = WeightBank(p, len(readers), rows)
            load(bank, mine[readers.start:readers.stop].any())
            for port, index in enumerate(readers):
                connect(m, cluster=clusters[index].weights, bank=bank.ports[port])

        # Images and layers.
        state = Signal(State)
        layer, next_layer = Signal(range(p.layer_depth)), Signal(range(p.layer_depth))
        fill, work = Signal(), Signal()             # buffer being filled, buffer being worked on
        full = Signal(2)                            # maps that are complete and not released
        room = Signal(init=1)                       # for another one
        parts = Signal(16)                          # of the map that is being filled
        taken, committed, released = Signal(), Signal(), Signal()
        still_full = Signal.like(full)
        m.d.comb += still_full.eq(full + committed - released)
        m.d.sync += full.eq(still_full)
        double = Signal()
        m.d.sync += [double.eq(config.buffer_step != 0), room.eq(still_full <= double)]
        # The map in work is the oldest: where none is complete, it is the one that is being filled.
        complete = full != 0
        ended, rests = Signal(), Signal()           # nothing is left to do for the image; its map is still to come
        to_stream = Signal()
        m.d.sync += to_stream.eq(clusters[0].to_stream)
        begins = Signal()                           # the state is BEGIN
        m.d.sync += begins.eq(state == State.LATCH)
        # The row of the next layer is read while one is worked on: of the first, once the program is in place.
        enabled, read, last_layer, take = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [enabled.eq(self.enable), read.eq((self.enable & ~enabled) | begins),
                     last_layer.eq(layer == config.layers - 1)]
        all_idle, all_ready = Signal(), Signal()
        m.d.comb += [all_idle.eq(merge.idle), all_ready.eq(1), take.eq((state == State.TAKE) & all_ready)]
        for cluster in clusters:
            with m.If(~cluster.idle):
                m.d.comb += all_idle.eq(0)
            with m.If(~cluster.ready):
                m.d.comb += all_ready.eq(0)
            m.d.comb += [
                cluster.next_index.eq(next_layer), cluster.read.eq(read), cluster.take.eq(take),
                cluster.layer_index.eq(layer), cluster.begin.eq(begins),
                cluster.buffer.eq(Mux(work, config.buffer_step, 0)), cluster.active.eq(state != State.IDLE),
                cluster.parts.eq(parts), cluster.complete.eq(complete), cluster.rests.eq(rests),
            ]
        with m.Switch(state):
            # IDLE -- waits for an image, for a first part of it
            with m.Case(State.IDLE):
                with m.If(enabled & (complete | (parts != 0))):
                    m.d.sync += [state.eq(State.TAKE), layer.eq(0)]
            # TAKE, LATCH -- waits until the layer's row has been read; what follows from it is registered
            with m.Case(State.TAKE):
                with m.If(all_ready):
                    m.d.sync += state.eq(State.LATCH)
            with m.Case(State.LATCH):
                m.d.sync += [state.eq(State.BEGIN), next_layer.eq(Mux(last_layer, 0, layer + 1))]
            with m.Case(State.BEGIN):
                m.d.sync += state.eq(State.RUN)
            # RUN -- waits for the slowest cluster
            with m.Case(State.RUN):
                with m.If(all_idle):
                    with m.If(~last_layer):
                        m.d.sync += [layer.eq(layer + 1), state.eq(State.TAKE)]
                    with m.Elif(to_stream):
                        m.d.sync += state.eq(State.COMMIT)
                    with m.Else():
                        m.d.comb += ended.eq(1)
            # COMMIT -- tells the next core that the map is complete
            with m.Case(State.COMMIT):
                m.d.comb += ended.eq(self.o_map.ready)
            # REST -- waits for parts of the input map that nothing reads
            with m.Case(State.REST):
                m.d.comb += ended.eq(1)
        m.d.comb += [released.eq(ended & complete), rests.eq(state == State.REST)]
        with m.If(released):
            m.d.sync += [state.eq(State.IDLE), work.eq(double & ~work)]
        with m.Elif(ended):
            m.d.sync += state.eq(State.REST)

        # Map writes: a cluster's own go first, a cycle after they were taken, so that they do not reach far within one;
        # the input takes the cycles in between.
        for index, cluster in enumerate(clusters):
            connect(m, cluster.o, merge.i[index])
            m.d.comb += merge.takes_part[index].eq(cluster.takes_part)
        m.d.comb += [merge.begin.eq(begins), merge.announces.eq(to_stream)]
        write = Signal.like(self.i_map.p)
        write_valid = Signal()
        own, own_write = Signal(), Signal.like(merge.o.p, reset_less=True)
        m.d.sync += [own.eq(merge.o.valid & ~to_stream), own_write.eq(merge.o.p)]
        m.d.comb += [
            self.i_map.ready.eq(enabled & ~own & room),
            taken.eq(self.i_map.valid & self.i_map.ready), committed.eq(taken & self.i_map.p.commit),
            write.eq(Mux(own, own_write, self.i_map.p)), write_valid.eq(own | taken),
        ]
        with m.If(~own):
            m.d.comb += write.address.eq(self.i_map.p.address + config.input_base + Mux(fill, config.buffer_step, 0))
        with m.If(committed):
            m.d.sync += [fill.eq(double & ~fill), parts.eq(0)]
        with m.Elif(taken & self.i_map.p.part):
            m.d.sync += parts.eq(parts + 1)
        m.d.comb += [
            self.o_map.valid.eq((state == State.COMMIT) | (merge.o.valid & to_stream)),
            self.o_map.p.eq(merge.o.p), self.o_map.p.commit.eq(state == State.COMMIT),
            merge.o.ready.eq(~to_stream | self.o_map.ready),
        ]
        written, written_valid = Signal.like(write, reset_less=True), Signal()
        m.d.sync += [written.eq(write), written_valid.eq(write_valid)]
        for cluster in clusters:
            m.d.comb += [cluster.write.valid.eq(written_valid), cluster.write.p.eq(written)]
        if p.occupancy:
            fills, filled = Signal(), Signal()
            m.d.sync += [fills.eq(taken), filled.eq(fill)]
            for cluster in clusters:
                m.d.comb += [cluster.fills.eq(fills), cluster.fill.eq(filled), cluster.work.eq(work)]

        # Logits: the read-out has one position, so the planner gives it to one cluster; the others send none.
        m.submodules.logits = logits = Buffer(logit)
        connect(m, logits.o, flipped(self.logits))
        for cluster in clusters:
            with m.If(cluster.logits.valid):
                m.d.comb += [logits.i.valid.eq(1), logits.i.p.eq(cluster.logits.p)]
            m.d.comb += cluster.logits.ready.eq(logits.i.ready)

        active = state != State.IDLE
        m.submodules.counters = counters = Counters(len(abi.COUNTERS), p.clusters)
        m.d.comb += [counters.index.eq(self.counter_index), self.counter.eq(counters.value)]
        # Registered before they are counted: every handshake of the core ends here.
        stall = (self.o_map.valid & ~self.o_map.ready) | (self.logits.valid & ~self.logits.ready)
        for index, (name, _) in enumerate(abi.COUNTERS):
            if name in EVENTS:
                count = sum((cluster.events[name] for cluster in clusters[1:]), clusters[0].events[name])
            else:
                count = {"cycles": active, "output_stalls": active & stall}[name]
            counted = Signal.like(Value.cast(count), name=f"counted_{name}")
            m.d.sync += counted.eq(count)
            m.d.comb += counters.i[index].eq(counted)
        moves = [c.events.adds | c.events.doublings | c.events.starved for c in clusters]
        moves += [c.o.valid & c.o.ready for c in clusters]
        m.d.comb += self.busy.eq(active | complete | (parts != 0))
        moves += [state == State.TAKE] + [port.valid & port.ready for port in (self.i_map, self.o_map, self.logits)]
        moved = Signal(len(moves))
        m.d.sync += moved.eq(Cat(moves))
        m.d.comb += self.progress.eq(moved.any())
        return m
