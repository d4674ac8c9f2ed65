"""The QB-LIF neuron unit: finished sums become burst levels, running maxima or logits."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.host import abi

from .accumulate import sums
from .baked import EMPTY, Contents
from .compare import at_most, equals
from .layouts import LoadBus, abi_row, logit, row_for, trace
from .params import CoreParams

PIPELINE_CYCLES = 6
"""From a chunk's issue until the next step of the same neurons may be issued."""

LATENCY = PIPELINE_CYCLES + 3
"""From a chunk's issue until its levels are there."""


def pause(params: CoreParams) -> int:
    """Return the cycles that pass after a lane group's last chunk before what follows it is known, and none is issued.

    It is known three cycles after that chunk, and asked for with the next group's last one."""
    return max(0, 3 - params.chunks)


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
    i: In, stream of chunks of finished sums, which cannot be refused: one sum per lane group, position and step (or
    tap), lane 0 first, its chunks in as many cycles without a pause. It takes `params.sums_kept` of them, and another
    one from the third cycle after `released`.
    o: Out, stream of chunks of levels, lane 0 first; lanes / neuron_lanes chunks per lane group.
    released: Out, a sum has served, or its chunks are now read for the last time; one pulse for each sum taken.
    credit: In, o has room for the chunks of a lane group; issued: Out, a chunk was issued a cycle ago that goes to it.
    logits: Out, stream of logits of a READOUT.
    idle: Out. trace: Out, present when params.trace.

    Throughput: one chunk per cycle, but at least PIPELINE_CYCLES between the time steps of a lane group; the last step
    of a READOUT takes longer, and so does a lane group of one or two chunks (`pause`). No overflow in a program that
    the planner accepted.
    """

    def __init__(self, params: CoreParams, contents: Contents = EMPTY):
        self._params, self._contents = params, contents
        members = {
            "load": In(LoadBus(params)),
            "layer": In(abi_row(params.layer_fields)),
            "layer_index": In(8),
            "begin": In(1),
            "i": In(stream.Signature(sums(params), always_ready=True)),
            "o": Out(stream.Signature(levels(params), always_ready=True)),
            "released": Out(1),
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
        # What the layer's row decides in every cycle is kept here, not where the row is.
        is_max, is_readout, static, levels_max = Signal(), Signal(), Signal(), Signal.like(layer.levels)
        reset = Signal.like(layer.reset)
        m.d.sync += [is_max.eq(layer.kind == abi.LayerKind.MAX), is_readout.eq(layer.kind == abi.LayerKind.READOUT),
                     static.eq(layer.static), levels_max.eq(layer.levels), reset.eq(layer.reset)]

        row = data.ArrayLayout(abi_row(abi.CHANNEL_FIELDS), n)
        m.submodules.channels = channels = Memory(
            shape=row, depth=p.channel_depth,
            init=[row.from_bits(bits) for bits in self._contents.memory(abi.MemoryId.CHANNELS)],
            attrs={"no_rw_check": 1})
        write, read = channels.write_port(), channels.read_port()
        channel_row = Signal(range(p.channel_depth))        # of the next chunk
        channel_row_now = Signal.like(channel_row)
        m.d.comb += [
            write.en.eq(row_for(m, self.load, abi.MemoryId.CHANNELS)),
            write.addr.eq(self.load.address),
            write.data.eq(self.load.data),
            read.addr.eq(channel_row), read.en.eq(1),
        ]
        m.d.sync += channel_row.eq(channel_row_now)
        # v is kept as it was before GATE_SUM's reset, with the flag that says whether it is still to be reset: floor
        # shifts add up, so the reset is part of the next step's decay and of the shift that makes the level of v.
        state = data.StructLayout({"v": data.ArrayLayout(signed(bits), n), "s": levels(p), "gated": n})
        m.submodules.states = states = Memory(shape=state, depth=max(2, p.chunks), init=[])
        state_write, state_read = states.write_port(), states.read_port(domain="comb")

        # The sums wait in memory, chunk by chunk, until they have served. A chunk is there a cycle after it came, and
        # they come as fast as they are read, so that the first one stands for all.
        rows = p.sums_kept * p.chunks
        m.submodules.sums = kept = Memory(shape=sums(p), depth=rows, init=[], attrs={"no_rw_check": 1})
        put, get = kept.write_port(), kept.read_port()
        within = (p.chunks - 1).bit_length()                        # bits of a chunk's index
        filled, sum_row = Signal(range(rows)), Signal(range(rows))  # row written next; first row of the sum in work
        waiting, holding = Signal(range(p.sums_kept + 2)), Signal()
        chunk = Signal(range(max(2, p.chunks)))
        step, tap = Signal(8), Signal(8)
        row, group, col = Signal(12), Signal(12), Signal(12)
        channel = Signal.like(channel_row)
        gap = Signal(range(PIPELINE_CYCLES + 1))

        # Whether a chunk is issued is decided here from few registers; all else learns of it a cycle later: the loops'
        # counters, which tell another cycle later whether they are at their ends, the addresses, and the pipeline.
        first, last_step, last_col, last_group = Signal(), Signal(), Signal(), Signal()
        last_tap, next_tap_last = Signal(), Signal()
        last_chunk = chunk == p.chunks - 1
        m.d.sync += [
            next_tap_last.eq(Mux(last_tap, layer.sources == 1, tap + 2 == layer.sources)),
            last_step.eq(step == layer.steps - 1),
            last_col.eq(col == layer.cols - 1),
            last_group.eq(group == layer.groups - 1),
        ]
        pipeline_busy, serial_busy, quiet = Signal(), Signal(), Signal()
        issue, amid, waited = Signal(), Signal(), Signal(init=1)     # amid: chunk is not 0; waited: gap is 0
        turns = issue & last_chunk
        arrives = self.i.valid & (filled[:within] == 0)
        serves = last_step | ~static        # this is the step that the sums are held for
        waits = is_readout & (last_step | ~amid)
        turned = Signal(pause(p))
        # A chunk of a window or of a later step needs the state that its predecessor is still computing.
        m.d.comb += issue.eq(holding & ~turned.any() & (amid | ((first | waited) & self.credit)) & (~waits | quiet))
        if len(turned):
            m.d.sync += turned.eq(Cat(turns, turned)[:len(turned)])
        m.d.sync += [
            quiet.eq(~(issue | pipeline_busy | serial_busy)), waiting.eq(waiting + arrives - (turns & serves)),
            holding.eq(arrives | Mux(turns & serves, waiting > 1, waiting != 0)),
        ]
        with m.If(~waited):
            m.d.sync += [gap.eq(gap - 1), waited.eq(gap == 1)]
        with m.If(issue):
            with m.If(~amid):
                m.d.sync += [gap.eq(PIPELINE_CYCLES - 1), waited.eq(0)]
            m.d.sync += [chunk.eq(Mux(last_chunk, 0, chunk + 1)), amid.eq(~last_chunk)]
            with m.If(last_chunk):
                m.d.sync += [first.eq(last_tap & (is_max | last_step)), last_tap.eq(~is_max | next_tap_last)]
        with m.If(self.begin):
            m.d.sync += [first.eq(1), last_tap.eq(~is_max | (layer.sources == 1))]

        issued = Signal(data.StructLayout({"valid": 1, "chunk": len(chunk), "first": 1, "last_tap": 1, "turns": 1}))
        m.d.sync += [issued.valid.eq(issue), issued.chunk.eq(chunk), issued.first.eq(first),
                     issued.last_tap.eq(last_tap), issued.turns.eq(turns)]
        m.d.comb += [
            put.addr.eq(filled), put.data.eq(self.i.p), put.en.eq(self.i.valid),
            get.addr.eq(sum_row | issued.chunk), get.en.eq(1),
        ]
        m.d.sync += self.issued.eq(issue & last_tap & ~is_readout)
        m.d.sync += self.released.eq(issued.valid & serves & Mux(
            is_readout, issued.turns, issued.chunk == min(1, p.chunks - 1)))
        with m.If(self.i.valid):
            m.d.sync += filled.eq(filled + 1)
        with m.If(issued.turns & serves):
            m.d.sync += sum_row.eq(sum_row + p.chunks)

        m.d.comb += channel_row_now.eq(channel_row)
        with m.If(issued.valid):
            m.d.comb += channel_row_now.eq(Mux(issued.turns, channel, channel_row + 1))
        with m.If(issued.turns):
            m.d.sync += tap.eq(tap + 1)
            with m.If(issued.last_tap):
                m.d.sync += [tap.eq(0), step.eq(step + 1)]
                with m.If(last_step):
                    m.d.sync += [step.eq(0), col.eq(col + 1)]
                    with m.If(last_col):
                        next_channel = Mux(last_group, layer.channel_first, channel + layer.group_channels)
                        m.d.sync += [col.eq(0), group.eq(group + 1), channel.eq(next_channel)]
                        m.d.comb += channel_row_now.eq(next_channel)
                        with m.If(last_group):
                            m.d.sync += [group.eq(0), row.eq(row + 1)]
        with m.If(self.begin):
            m.d.sync += [row.eq(0), channel.eq(layer.channel_first)]
            m.d.comb += channel_row_now.eq(layer.channel_first)

        # The pipeline: issue, three cycles for the constants, A (current), B (subtract), C (decay and add), E (round),
        # F (shift), G (clip). A reads the state that G wrote, so the constants' cycles do not count between time steps.
        tag = data.StructLayout({"valid": 1, "chunk": len(chunk), "first": 1, "emit": 1, "logit": 1})
        currents = data.ArrayLayout(signed(bits), n)
        shifts = data.ArrayLayout(6, n)
        tags = [Signal(tag, name=f"tag_{stage}") for stage in range(LATENCY - 1)]
        ta, tg = tags[2], tags[-1]
        m.d.sync += [
            tags[0].valid.eq(issued.valid), tags[0].chunk.eq(issued.chunk), tags[0].first.eq(issued.first),
            tags[0].emit.eq(~is_readout & issued.last_tap), tags[0].logit.eq(is_readout & last_step),
            *(later.eq(earlier) for earlier, later in zip(tags, tags[1:], strict=False)),
        ]
        m.d.comb += pipeline_busy.eq(issued.valid | Cat(stage.valid for stage in tags).any())

        # What the layer makes of all its lanes. Floor shifts add up: GATE_MEMBRANE's reset and the decay are one shift.
        no_decay_factor, no_reset_factor = layer.decay == abi.ZERO_FACTOR, layer.reset == abi.ZERO_FACTOR
        decay, both = Signal(5), Signal(5)
        clears, fired_clears = Signal(), Signal()       # the membrane counts for nothing, always or after a spike
        subtracts, gates_membrane, gates_sum, reset_clears, rounds = (Signal() for _ in range(5))
        m.d.sync += [
            decay.eq(layer.decay), both.eq(layer.decay + layer.reset),
            clears.eq(is_max | no_decay_factor), fired_clears.eq(is_max | no_decay_factor | no_reset_factor),
            subtracts.eq((layer.style == abi.ResetStyle.SUBTRACT) & ~no_reset_factor),
            gates_membrane.eq(layer.style == abi.ResetStyle.GATE_MEMBRANE),
            gates_sum.eq((layer.style == abi.ResetStyle.GATE_SUM) & ~is_max),
            reset_clears.eq(no_reset_factor), rounds.eq(layer.rounds),
        ]

        def pipe(layout, name):
            return Signal(layout, name=name, reset_less=True)

        flags = data.ArrayLayout(1, n)
        constants = data.ArrayLayout(abi_row(abi.CHANNEL_FIELDS), n)
        sum_i, sum_a = pipe(currents, "sum_i"), pipe(currents, "sum_a")
        constants_i, constants_a = pipe(constants, "constants_i"), pipe(constants, "constants_a")
        back_a = pipe(data.ArrayLayout(5, n), "back_a")     # f - a: how far a level is shifted up to be subtracted
        v_b, c_b, back_b = pipe(currents, "v_b"), pipe(currents, "c_b"), pipe(currents, "back_b")
        f_b = pipe(data.ArrayLayout(5, n), "f_b")
        f_c, f_e, f_f = (pipe(shifts, f"f_{x}") for x in "cef")     # of the level: f, and the reset that is due
        fired_b = pipe(flags, "fired_b")
        gated_b, gated_c, gated_e, gated_f, gated_g = (pipe(flags, f"gated_{x}") for x in "bcefg")
        v_c, c_c = pipe(currents, "v_c"), pipe(currents, "c_c")
        fine_c = pipe(data.ArrayLayout(3, n), "fine_c")
        clear_c, halves_c = pipe(flags, "clear_c"), pipe(flags, "halves_c")
        v_e, v_f, v_g = pipe(currents, "v_e"), pipe(currents, "v_f"), pipe(currents, "v_g")
        half_e = pipe(currents, "half_e")
        r_f = pipe(data.ArrayLayout(signed(bits + 1), n), "r_f")
        above_f = pipe(data.ArrayLayout(bits, n), "above_f")    # bits that are too high for a level
        q_g, low_g, high_g = pipe(levels(p), "q_g"), pipe(flags, "low_g"), pipe(flags, "high_g")
        s_out = pipe(levels(p), "s_out")

        no_back = Signal()      # there is nothing to subtract
        m.d.comb += state_read.addr.eq(ta.chunk)
        m.d.sync += [constants_i.eq(read.data), constants_a.eq(constants_i), no_back.eq(tags[1].first | ~subtracts)]
        for j in range(n):
            m.d.sync += [sum_i[j].eq(get.data[j]), sum_a[j].eq(sum_i[j])]
            # A
            v_old, s_old = state_read.data.v[j], state_read.data.s[j]
            m.d.sync += [
                back_a[j].eq(constants_i[j].shift - reset),
                c_b[j].eq(sum_a[j] + constants_a[j].bias), f_b[j].eq(constants_a[j].shift),
                v_b[j].eq(Mux(ta.first, 0, v_old)), fired_b[j].eq(~ta.first & s_old.any()),
                gated_b[j].eq(~ta.first & state_read.data.gated[j]),
                back_b[j].eq(Mux(no_back, 0, (s_old << back_a[j])[:bits])),
            ]
            # B: subtract, and decay by whole octets
            before, shift, clear = Signal(signed(bits), name=f"before_{j}"), Signal(5, name=f"shift_{j}"), Signal()
            gated = gated_b[j] | (fired_b[j] & gates_membrane)
            m.d.comb += [
                before.eq(v_b[j] - back_b[j]), shift.eq(Mux(gated, both, decay)),
                clear.eq(Mux(gated, fired_clears, clears)),
            ]
            m.d.sync += [
                v_c[j].eq(Mux(clear, 0, before >> (shift[3:] << 3))), fine_c[j].eq(shift[:3]),
                c_c[j].eq(Mux(is_max & (v_b[j] > c_b[j]), v_b[j], c_b[j])),
                f_c[j].eq(f_b[j] + Mux(fired_b[j] & gates_sum, reset, 0)),
                gated_c[j].eq(fired_b[j] & gates_sum), clear_c[j].eq(fired_b[j] & gates_sum & reset_clears),
                halves_c[j].eq(rounds & (f_b[j] != 0)),
            ]
            # C. A level of v >> r is one of v, shifted by r more; so is the half that rounds it, if f > 0.
            m.d.sync += [
                v_e[j].eq(Mux(clear_c[j], 0, (v_c[j] >> fine_c[j]) + c_c[j])), f_e[j].eq(f_c[j]),
                half_e[j].eq(Mux(halves_c[j], Cat(equals(f_c[j], bit + 1) for bit in range(bits - 1)), 0)),
                gated_e[j].eq(gated_c[j]),
            ]
            # E
            m.d.sync += [
                r_f[j].eq(v_e[j] + half_e[j]), v_f[j].eq(v_e[j]), f_f[j].eq(f_e[j]), gated_f[j].eq(gated_e[j]),
                above_f[j].eq(Cat(at_most(f_e[j], bit - p.level_bits) for bit in range(bits))),
            ]
            # F
            m.d.sync += [
                q_g[j].eq((r_f[j] >> f_f[j])[:p.level_bits]), low_g[j].eq(r_f[j] < 0),
                high_g[j].eq((r_f[j][:bits] & above_f[j]).any()), v_g[j].eq(v_f[j]), gated_g[j].eq(gated_f[j]),
            ]
            # G
            m.d.comb += s_out[j].eq(Mux(is_readout | low_g[j], 0,
                                        Mux(high_g[j] | (q_g[j] > levels_max), levels_max, q_g[j])))
        m.d.comb += [
            state_write.en.eq(tg.valid), state_write.addr.eq(tg.chunk),
            state_write.data.v.eq(v_g), state_write.data.s.eq(s_out), state_write.data.gated.eq(gated_g),
            self.o.valid.eq(tg.valid & tg.emit), self.o.payload.eq(s_out),
        ]

        # Logits leave one by one.
        serial, left, more = Signal(currents, reset_less=True), Signal(range(n + 1)), Signal(16)
        some_more, last_logit = Signal(), Signal()                  # more is not 0; it is 1
        m.d.comb += [
            self.logits.valid.eq(serial_busy & some_more),
            self.logits.p.value.eq(serial[0]), self.logits.p.last.eq(last_logit),
        ]
        with m.If(serial_busy & (~some_more | self.logits.ready)):
            m.d.sync += [left.eq(left - 1), serial_busy.eq(left != 1), serial.as_value().eq(serial.as_value() >> bits)]
            with m.If(some_more):
                m.d.sync += [more.eq(more - 1), some_more.eq(more != 1), last_logit.eq(more == 2)]
        with m.If(tg.valid & tg.logit):
            m.d.sync += [serial.eq(v_g), left.eq(n), serial_busy.eq(1)]
        with m.If(self.begin):
            m.d.sync += [more.eq(layer.classes), some_more.eq(layer.classes != 0), last_logit.eq(layer.classes == 1)]

        m.d.comb += self.idle.eq(~holding & ~pipeline_busy & ~serial_busy)

        if p.trace:
            place = data.StructLayout({"step": 8, "row": 12, "col": 12, "chunk": 16})
            at = Signal(place)
            chunks = group << (p.chunks - 1).bit_length()
            m.d.comb += [at.step.eq(step), at.row.eq(row), at.col.eq(col), at.chunk.eq(chunks + issued.chunk)]
            for index in range(LATENCY - 1):
                behind = Signal(place, name=f"place_{index}")
                m.d.sync += behind.eq(at)
                at = behind
            current = c_b
            for stage in "cefg":
                behind = Signal(currents, name=f"current_{stage}")
                m.d.sync += behind.eq(current)
                current = behind
            record = self.trace.p
            m.d.comb += [
                self.trace.valid.eq(tg.valid & (tg.emit | is_readout)), record.layer.eq(self.layer_index),
                record.step.eq(at.step), record.row.eq(at.row), record.col.eq(at.col), record.chunk.eq(at.chunk),
                record.current.eq(current), record.level.eq(s_out),
                *(record.membrane[j].eq(Mux(gated_g[j], v_g[j] >> layer.reset, v_g[j])) for j in range(n)),
            ]
        return m
