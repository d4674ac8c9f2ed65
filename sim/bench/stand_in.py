"""A small component with the ports of the top: tests the simulation library in moments, and how it takes faults."""

from amaranth.hdl import Assert, Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi
from qblif.hw import layouts
from qblif.hw.params import CoreParams

AXI = {"awaddr": In(12), "awprot": In(3), "awvalid": In(1), "awready": Out(1), "wdata": In(32), "wstrb": In(4),
       "wvalid": In(1), "wready": Out(1), "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
       "araddr": In(12), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
       "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1)}
REGISTER = {name: offset for name, offset, _, _ in abi.REGISTERS}


class StandIn(wiring.Component):
    """Answers every input frame with `classes` beats: beat k is k + the sum of the frame's beats + SCRATCH.

    The program stream is added up; the sum shows in PROGRAM_LO; 13 is error BAD_MAGIC, 14 never gets loaded. Counter 0
    counts cycles of answering. CONTROL bit 0 resets all but SCRATCH. Values of SCRATCH that make it misbehave:
    DEAF: writes get no answer; UNSTABLE: the payload changes while it waits; LONG: an output frame has one beat
    too many; SILENT: there are no answers; WRONG: answering violates an assertion. Trace port 0, 0 is that of a core
    with PARAMS; all bits of its records are those of the output beat, over and over.

    classes: beats of an output frame.
    """

    PARAMS = CoreParams(lanes=4, neuron_lanes=2, word_bits=32, acc_bits=19, trace=True)
    DEAF, UNSTABLE, LONG, SILENT, WRONG = range(0xBAD0, 0xBAD5)

    def __init__(self, classes=3):
        self.classes = classes
        self.trace_bits = layouts.trace(self.PARAMS).size
        ports = {f"s_axi_{name}": member for name, member in AXI.items()}
        for name, flow, back in (("s_axis_program", In, Out), ("s_axis_input", In, Out), ("m_axis_output", Out, In)):
            ports |= {f"{name}_tdata": flow(32), f"{name}_tvalid": flow(1), f"{name}_tlast": flow(1),
                      f"{name}_tready": back(1)}
        ports |= {"trace_0_0_valid": Out(1), "trace_0_0_data": Out(self.trace_bits)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        scratch, program, cycles, high = Signal(32, reset_less=True), Signal(32), Signal(64), Signal(32)
        loaded, reset = Signal(), Signal()

        # Registers: one access at a time.
        values = {REGISTER["ID"]: abi.MAGIC, REGISTER["SCRATCH"]: scratch, REGISTER["PROGRAM_LO"]: program,
                  REGISTER["STATUS"]: Cat(loaded, Mux(program == 13, abi.Error.BAD_MAGIC << 7, 0)),
                  abi.COUNTER_BASE: cycles[:32], abi.COUNTER_BASE + 4: high}
        write = self.s_axi_awvalid & self.s_axi_wvalid & ~self.s_axi_bvalid & (scratch != self.DEAF)
        m.d.comb += [self.s_axi_awready.eq(write), self.s_axi_wready.eq(write),
                     self.s_axi_arready.eq(~self.s_axi_rvalid)]
        with m.If(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)
        with m.If(self.s_axi_rready):
            m.d.sync += self.s_axi_rvalid.eq(0)
        with m.If(write):
            m.d.sync += self.s_axi_bvalid.eq(1)
            with m.If(self.s_axi_awaddr == REGISTER["SCRATCH"]):
                m.d.sync += scratch.eq(self.s_axi_wdata)
            with m.If(self.s_axi_awaddr == REGISTER["CONTROL"]):
                m.d.comb += reset.eq(self.s_axi_wdata[0])
        with m.If(self.s_axi_arvalid & self.s_axi_arready):
            m.d.sync += [self.s_axi_rvalid.eq(1), self.s_axi_rdata.eq(0)]
            for offset, value in values.items():
                with m.If(self.s_axi_araddr == offset):
                    m.d.sync += self.s_axi_rdata.eq(value)
            with m.If(self.s_axi_araddr == abi.COUNTER_BASE):
                m.d.sync += high.eq(cycles[32:])

        m.d.comb += self.s_axis_program_tready.eq(1)
        with m.If(self.s_axis_program_tvalid):
            m.d.sync += [program.eq(program + self.s_axis_program_tdata),
                         loaded.eq(self.s_axis_program_tlast & (program + self.s_axis_program_tdata != 14))]

        # Frames: sum, then answer. A memory, so that emitted designs with one are covered.
        total, beat, answering = Signal(32), Signal(range(self.classes + 2)), Signal()
        m.submodules.sums = sums = memory.Memory(shape=32, depth=4, init=[])
        sums_w, sums_r = sums.write_port(), sums.read_port()
        beats = Mux(scratch == self.LONG, self.classes + 1, self.classes)
        m.d.comb += [self.s_axis_input_tready.eq(~answering), sums_r.en.eq(1),
                     sums_w.data.eq(total + self.s_axis_input_tdata),
                     self.m_axis_output_tvalid.eq((scratch != self.SILENT) & answering & (beat != 0)),
                     self.m_axis_output_tdata.eq(sums_r.data + beat - 1 + scratch),
                     self.m_axis_output_tlast.eq(beat == beats)]
        with m.If(scratch == self.UNSTABLE):
            m.d.comb += self.m_axis_output_tdata.eq(cycles)
        with m.If(self.s_axis_input_tvalid & self.s_axis_input_tready):
            m.d.comb += sums_w.en.eq(1)
            m.d.sync += [total.eq(total + self.s_axis_input_tdata), answering.eq(self.s_axis_input_tlast), beat.eq(0)]
        with m.If(answering):
            m.d.sync += cycles.eq(cycles + 1)
            with m.If((beat == 0) | self.m_axis_output_tready):
                m.d.sync += beat.eq(beat + 1)
            with m.If((beat == beats) & self.m_axis_output_tready):
                m.d.sync += [answering.eq(0), total.eq(0)]
            m.d.sync += Assert(scratch != self.WRONG)
        m.d.comb += [self.trace_0_0_valid.eq(self.m_axis_output_tvalid & self.m_axis_output_tready),
                     self.trace_0_0_data.eq(self.m_axis_output_tdata.replicate(-(-self.trace_bits // 32)))]
        # The answer to the resetting write itself must survive, so the reset acts one cycle later, on the rest.
        resetting = Signal()
        m.d.sync += resetting.eq(reset)
        with m.If(resetting):
            m.d.sync += [signal.eq(0) for signal in (program, loaded, cycles, total, beat, answering)]
        return m
