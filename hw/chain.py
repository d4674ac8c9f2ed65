"""The cores of a design, one behind the other."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from . import counters
from .baked import Baked
from .layouts import COUNTER_INDEX, LoadBus, logit, map_stream, map_write, trace
from .link import Buffer
from .params import DesignParams


def trace_ports(design: DesignParams) -> dict:
    """Return the names and payload layouts of the trace ports: one per cluster of the cores that have any."""
    return {f"trace_{index}_{cluster}": trace(core)
            for index, core in enumerate(design.cores) if core.trace for cluster in range(core.clusters)}


def trace_members(design: DesignParams) -> dict:
    """Return the trace ports as members of a component: a payload `p` with `valid`, and nobody to wait for."""
    return {name: Out(wiring.Signature({"valid": Out(1), "p": Out(layout)}))
            for name, layout in trace_ports(design).items()}


class Chain(wiring.Component):
    """Cores in a row: maps go from core to core through a buffer, logits come from the last one.

    Logits of other cores and a map from the last one have nowhere to go and wait for ever: only a program
    that this design was not planned for sends them, and then the watchdog tells.

    Parameters
    ----------
    design: sizes of the cores
    core: class of the cores; takes CoreParams, has the ports of layouts.CoreSignature
    baked: initial contents of the cores' memories; then `core` takes its Contents, too

    Members
    -------
    load_<core>: In(LoadBus)
    i_map: In (layouts.map_stream), for the first core
    logits: Out (stream of layouts.logit)
    enable: In(1), a program is in place
    input_words: Out(32), input_row_words: Out(24), of the first core
    busy: Out(1), an image is in work or between cores
    progress: Out(1), something moved in this cycle
    counter_index: In, of abi.COUNTERS; counter: Out(64), its value in each core, COUNTER_CYCLES later
    trace_<core>_<cluster>: Out(valid, p), only with trace
    """

    def __init__(self, design: DesignParams, core, baked: Baked | None = None):
        self._design, self._core, self._baked = design, core, baked
        super().__init__({
            "i_map": In(map_stream(design.cores[0])), "logits": Out(stream.Signature(logit)),
            "enable": In(1), "input_words": Out(32), "input_row_words": Out(24), "busy": Out(1), "progress": Out(1),
            "counter_index": In(COUNTER_INDEX), "counter": Out(counters.BITS).array(len(design.cores)),
        } | {f"load_{index}": In(LoadBus(params)) for index, params in enumerate(design.cores)}
          | trace_members(design))

    def elaborate(self, platform):
        m = Module()
        cores, busy, progress = [], [], []
        for index, params in enumerate(self._design.cores):
            m.submodules[f"core_{index}"] = core = (self._core(params, self._baked.cores[index]) if self._baked else
                                                    self._core(params))
            cores.append(core)
            connect(m, flipped(getattr(self, f"load_{index}")), core.load)
            m.d.comb += [core.enable.eq(self.enable), core.counter_index.eq(self.counter_index),
                         self.counter[index].eq(core.counter)]
            busy.append(core.busy)
            progress.append(core.progress)
            for cluster in range(params.clusters if params.trace else 0):
                connect(m, core.trace[cluster], flipped(getattr(self, f"trace_{index}_{cluster}")))

        connect(m, flipped(self.i_map), cores[0].i_map)
        for index in range(1, len(cores)):
            # Cut both ways: whether a core takes a write does not reach back into the one before in the same cycle.
            m.submodules[f"between_{index}"] = between = Buffer(map_write(self._design.cores[index]))
            connect(m, sender=cores[index - 1].o_map, between=between.i)
            connect(m, between=between.o, receiver=cores[index].i_map)
            busy.append(between.o.valid)
            progress += [end.valid & end.ready for end in (between.i, between.o)]
        connect(m, cores[-1].logits, flipped(self.logits))

        m.d.comb += [
            self.input_words.eq(cores[0].input_words), self.input_row_words.eq(cores[0].input_row_words),
            self.busy.eq(Cat(busy).any()),
            self.progress.eq(Cat(progress).any()),
        ]
        return m
