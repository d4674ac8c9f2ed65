"""The QB-LIF neuron unit: finished sums become burst levels, running maxima or logits."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .accumulate import sums
from .baked import EMPTY, Contents
from .layouts import LoadBus, abi_row, logit, trace
from .params import CoreParams

PIPELINE_CYCLES = 6
"""From a chunk's issue until its new membrane can be read again."""


def levels(params: CoreParams) -> data.ArrayLayout:
    """Return the layout of a chunk of levels: neuron_lanes numbers of level_bits, unsigned."""
    return data.ArrayLayout(params.level_bits, params.neuron_lanes)


class NeuronUnit(wiring.Component):
    """Updates neuron_lanes neurons per cycle, in the integers of docs/numerics.md::

        c = bias + sum
        GATE_SUM        a = decay(v) + c;                        v' = fired ? reset(a) : a
        GATE_MEMBRANE   v' = decay(fired ? reset(v) : v) + c
        SUBTRACT        v' = decay(v - ((s << f) >> a)) + c
        s' = clip((v' + h) >> f, 0, N);  fired = s > 0;  v = s = 0 before the first step

    For a static layer one sum serves all steps. MAX: v' = max(v, sum) over the taps of a window.
    READOUT: v' = v + c, and v' of the last step is the logit.

    Members
    -------
    load: In, program rows; fills the channel table (bias, shift).
    layer: In, the layer row in work. begin: In, one cycle: a layer starts.
    i: In, stream of finished sums, one per lane group, position and step (or tap).
    o: Out, stream of chunks of levels, lane 0 first; lanes / neuron_lanes chunks per lane group.
    credit: In, o has room for one more; issued: Out, a chunk is under way that will use it.
    logits: Out, stream of logits of a READOUT.
    idle: Out. trace: Out, present when params.trace.

    Throughput: one chunk per cycle, but at least PIPELINE_CYCLES between the time steps of a lane group; a READOUT
    takes longer. No overflow in a program that the planner accepted.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        members = {
            "load": In(LoadBus(params)),
            "layer": In(abi_row(abi.LAYER_FIELDS)),
            "layer_index": In(8),
            "begin": In(1),
            "i": In(stream.Signature(sums(params))),
            "o": Out(stream.Signature(levels(params), always_ready=True)),
            "credit": In(1),
            "issued": Out(1),
            "logits": Out(stream.Signature(logit)),
            "idle": Out(1),
        }
        if params.trace:
            members["trace"] = Out(wiring.Signature({"valid": Out(1), "p": Out(trace(params))}))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        p = self._params
        n, bits, layer = p.neuron_lanes, p.acc_bits, self.layer
        is_max = layer.kind == abi.LayerKind.MAX
        is_readout = layer.kind == abi.LayerKind.READOUT

        row = data.ArrayLayout(abi_row(abi.CHANNEL_FIELDS), n)
        m.submodules.channels = channels = Memory(
            shape=row, depth=p.channel_depth,
            init=[row.from_bits(bits) for bits in self._contents.memory(abi.MemoryId.CHANNELS)],
            attrs={"no_rw_check": 1})
        write, read = channels.write_port(), channels.read_port()
        m.d.comb += [
            write.en.eq(self.load.valid & (self.load.memory == abi.MemoryId.CHANNELS)),
            write.addr.eq(self.load.address),
            write.data.eq(self.load.data),
        ]
        state = data.StructLayout({"v": data.ArrayLayout(signed(bits), n), "s": levels(p)})
        m.submodules.states = states = Memory(shape=state, depth=max(2, p.chunks), init=[])
        state_write, state_read = states.write_port(), states.read_port(domain="comb")

        # The held sums, rotating by one chunk per issue, so that a static layer finds them in place again.
        held, holding = Signal(sums(p)), Signal()
        chunk = Signal(range(max(2, p.chunks)))
        step, tap = Signal(8), Signal(8)
        row, group, col = Signal(12), Signal(12), Signal(12)
        channel = Signal(16)
        gap = Signal(range(PIPELINE_CYCLES + 1))

        last_chunk = chunk == p.chunks - 1
        last_tap = ~is_max | (tap == layer.sources - 1)
        last_step = step == layer.steps - 1
        first = Mux(is_max, tap == 0, step == 0)
        pipeline_busy = Signal()
        serial_busy = Signal()
        issue = Signal()
        finish = Signal()        # the held sums have served
        m.d.comb += [
            # A chunk of a window or of a later step needs the state that its predecessor is still computing.
            issue.eq(holding & self.credit & (first | (chunk != 0) | (gap == 0))
                     & ~(is_readout & (pipeline_busy | serial_busy))),
            finish.eq(issue & last_chunk & (last_step | ~layer.static)),
            self.i.ready.eq(~holding | finish),
            self.issued.eq(issue & last_tap & ~is_readout),
        ]
        # Waiting amid a lane group holds up its later chunks, and so also those of the next step.
        with m.If((gap != 0) & (issue | (chunk == 0))):
            m.d.sync += gap.eq(gap - 1)
        with m.If(issue):
            with m.If(chunk == 0):
                m.d.sync += gap.eq(PIPELINE_CYCLES - 1)
            m.d.sync += [chunk.eq(Mux(last_chunk, 0, chunk + 1)),
                         held.as_value().eq(held.as_value().rotate_right(n * bits))]
            with m.If(last_chunk):
                m.d.sync += tap.eq(tap + 1)
                with m.If(last_tap):
                    m.d.sync += [tap.eq(0), step.eq(step + 1)]
                    with m.If(last_step):
                        m.d.sync += [step.eq(0), col.eq(col + 1)]
                        with m.If(col == layer.cols - 1):
                            m.d.sync += [col.eq(0), group.eq(group + 1), channel.eq(channel + layer.group_channels)]
                            with m.If(group == layer.groups - 1):
                                m.d.sync += [group.eq(0), channel.eq(layer.channel_first), row.eq(row + 1)]
        with m.If(finish):
            m.d.sync += holding.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [holding.eq(1), held.eq(self.i.p)]
        with m.If(self.begin):
            m.d.sync += [row.eq(0), channel.eq(layer.channel_first)]

        # The pipeline: issue, A (current), B (before decay), C (decay and add), D (reset), E (shift), F (clip).
        tag = data.StructLayout({"valid": 1, "chunk": len(chunk), "first": 1, "emit": 1, "logit": 1})
        currents = data.ArrayLayout(signed(bits), n)
        shifts = data.ArrayLayout(5, n)
        ta, tb, tc, td, te, tf = (Signal(tag, name=f"tag_{stage}") for stage in "abcdef")
        m.d.comb += [read.addr.eq(channel + chunk), read.en.eq(1)]
        m.d.sync += [
            ta.valid.eq(issue), ta.chunk.eq(chunk), ta.first.eq(first),
            ta.emit.eq(~is_readout & last_tap), ta.logit.eq(is_readout & last_step),
            tb.eq(ta), tc.eq(tb), td.eq(tc), te.eq(td), tf.eq(te),
        ]
        m.d.comb += pipeline_busy.eq(ta.valid | tb.valid | tc.valid | td.valid | te.valid | tf.valid)

        def decay(x):
            return Mux(layer.decay == abi.ZERO_FACTOR, 0, x >> layer.decay)

        def reset(x):
            return Mux(layer.reset == abi.ZERO_FACTOR, 0, x >> layer.reset)

        def pipe(layout, name):
            return Signal(layout, name=name)

        sum_a = pipe(currents, "sum_a")
        v_b, c_b, s_b = pipe(currents, "v_b"), pipe(currents, "c_b"), pipe(levels(p), "s_b")
        f_b, f_c, f_d, f_e = (pipe(shifts, f"f_{x}") for x in "bcde")
        back_b = pipe(shifts, "back_b")                 # f - a: how far a level is shifted up to be subtracted
        m_c, c_c, c_d = pipe(currents, "m_c"), pipe(currents, "c_c"), pipe(currents, "c_d")
        fired_c, fired_d = Signal(n), Signal(n)
        v_c, v_d = pipe(currents, "v_c"), pipe(currents, "v_d")
        a_d, v_e, v_f = pipe(currents, "a_d"), pipe(currents, "v_e"), pipe(currents, "v_f")
        q_f = pipe(data.ArrayLayout(signed(bits + 1), n), "q_f")
        s_out = pipe(levels(p), "s_out")

        m.d.comb += state_read.addr.eq(ta.chunk)
        for j in range(n):
            m.d.sync += sum_a[j].eq(held[j])
            # A
            v_old, s_old = state_read.data.v[j], state_read.data.s[j]
            m.d.sync += [
                c_b[j].eq(sum_a[j] + read.data[j].bias), f_b[j].eq(read.data[j].shift),
                back_b[j].eq(read.data[j].shift - layer.reset),
                v_b[j].eq(Mux(ta.first, 0, v_old)), s_b[j].eq(Mux(ta.first, 0, s_old)),
            ]
            # B
            fired = s_b[j].any()
            subtract = Mux(layer.reset == abi.ZERO_FACTOR, 0, (s_b[j] << back_b[j])[:bits]).as_signed()
            before = Signal(signed(bits), name=f"before_{j}")
            with m.Switch(layer.style):
                with m.Case(abi.ResetStyle.GATE_MEMBRANE):
                    m.d.comb += before.eq(Mux(fired, reset(v_b[j]), v_b[j]))
                with m.Case(abi.ResetStyle.SUBTRACT):
                    m.d.comb += before.eq(v_b[j] - subtract)
                with m.Default():
                    m.d.comb += before.eq(v_b[j])
            m.d.sync += [m_c[j].eq(before), c_c[j].eq(c_b[j]), f_c[j].eq(f_b[j]), fired_c[j].eq(fired),
                         v_c[j].eq(v_b[j])]
            # C
            m.d.sync += [a_d[j].eq(decay(m_c[j]) + c_c[j]), c_d[j].eq(c_c[j]), f_d[j].eq(f_c[j]),
                         fired_d[j].eq(fired_c[j]), v_d[j].eq(Mux(v_c[j] > c_c[j], v_c[j], c_c[j]))]
            # D
            gated = (layer.style == abi.ResetStyle.GATE_SUM) & fired_d[j]
            m.d.sync += [v_e[j].eq(Mux(is_max, v_d[j], Mux(gated, reset(a_d[j]), a_d[j]))), f_e[j].eq(f_d[j])]
            # E
            half = Mux(layer.rounds, (1 << f_e[j])[1:21], 0)
            m.d.sync += [q_f[j].eq((v_e[j] + half) >> f_e[j]), v_f[j].eq(v_e[j])]
            # F
            m.d.comb += s_out[j].eq(Mux(is_readout | (q_f[j] < 0), 0,
                                        Mux(q_f[j] > layer.levels, layer.levels, q_f[j].as_unsigned())))
        c_e, c_f = pipe(currents, "c_e"), pipe(currents, "c_f")
        m.d.comb += [
            state_write.en.eq(tf.valid), state_write.addr.eq(tf.chunk),
            state_write.data.v.eq(v_f), state_write.data.s.eq(s_out),
            self.o.valid.eq(tf.valid & tf.emit), self.o.payload.eq(s_out),
        ]

        # Logits leave one by one.
        serial, left, more = Signal(currents), Signal(range(n + 1)), Signal(16)
        m.d.comb += [
            serial_busy.eq(left != 0),
            self.logits.valid.eq((left != 0) & (more != 0)),
            self.logits.p.value.eq(serial[0]), self.logits.p.last.eq(more == 1),
        ]
        with m.If((left != 0) & ((more == 0) | self.logits.ready)):
            m.d.sync += [left.eq(left - 1), serial.as_value().eq(serial.as_value() >> bits),
                         more.eq(Mux(more == 0, 0, more - 1))]
        with m.If(tf.valid & tf.logit):
            m.d.sync += [serial.eq(v_f), left.eq(n)]
        with m.If(self.begin):
            m.d.sync += more.eq(layer.classes)

        m.d.comb += self.idle.eq(~holding & ~pipeline_busy & ~serial_busy)

        if p.trace:
            place = data.StructLayout({"step": 8, "row": 12, "col": 12, "chunk": 16})
            at = Signal(place)
            chunks = group << (p.chunks - 1).bit_length()
            m.d.comb += [at.step.eq(step), at.row.eq(row), at.col.eq(col), at.chunk.eq(chunks + chunk)]
            for index in range(PIPELINE_CYCLES):
                behind = Signal(place, name=f"place_{index}")
                m.d.sync += behind.eq(at)
                at = behind
            m.d.sync += [c_e.eq(c_d), c_f.eq(c_e)]
            record = self.trace.p
            m.d.comb += [
                self.trace.valid.eq(tf.valid & (tf.emit | is_readout)), record.layer.eq(self.layer_index),
                record.step.eq(at.step), record.row.eq(at.row), record.col.eq(at.col), record.chunk.eq(at.chunk),
                record.current.eq(c_f), record.membrane.eq(v_f), record.level.eq(s_out),
            ]
        return m
