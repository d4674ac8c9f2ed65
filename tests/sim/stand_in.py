"""A small component with the ports of the top, to test the simulation library without the real design."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from qblif.host import abi

AXI = {"awaddr": In(12), "awprot": In(3), "awvalid": In(1), "awready": Out(1), "wdata": In(32), "wstrb": In(4),
       "wvalid": In(1), "wready": Out(1), "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
       "araddr": In(12), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
       "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1)}
REGISTER = {name: offset for name, offset, _, _ in abi.REGISTERS}


class StandIn(wiring.Component):
    """Answers every input frame with `classes` beats: beat k is k + the sum of the frame's beats + SCRATCH.

    The program stream is added up; its sum shows in PROGRAM_LO; a sum of 13 sets error BAD_MAGIC. While busy,
    counter 0 counts. Scratch values that make it misbehave: 0xDEAD: bus writes are never answered again.

    classes: beats of an output frame. fault: "" or "unstable" (payload changes while waiting), "long" (an
    output frame has one beat too many), "silent" (never answers). trace_bits: width of trace_0_0_data, 0: none.
    """

    def __init__(self, classes=3, fault="", trace_bits=0):
        self.classes, self.fault, self.trace_bits = classes, fault, trace_bits
        ports = {f"s_axi_{name}": member for name, member in AXI.items()}
        for name, flow, back in (("s_axis_program", In, Out), ("s_axis_input", In, Out), ("m_axis_output", Out, In)):
            ports |= {f"{name}_tdata": flow(32), f"{name}_tvalid": flow(1), f"{name}_tlast": flow(1),
                      f"{name}_tready": back(1)}
        if trace_bits:
            ports |= {"trace_0_0_valid": Out(1), "trace_0_0_data": Out(trace_bits)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        scratch, program, cycles, high = Signal(32), Signal(32), Signal(64), Signal(32)

        # Registers: one access at a time.
        values = {REGISTER["ID"]: abi.MAGIC, REGISTER["SCRATCH"]: scratch, REGISTER["PROGRAM_LO"]: program,
                  REGISTER["STATUS"]: Mux(program == 13, abi.Error.BAD_MAGIC << 8, 0),
                  abi.COUNTER_BASE: cycles[:32], abi.COUNTER_BASE + 4: high}
        write = self.s_axi_awvalid & self.s_axi_wvalid & ~self.s_axi_bvalid & (scratch != 0xDEAD)
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
        with m.If(self.s_axi_arvalid & self.s_axi_arready):
            m.d.sync += [self.s_axi_rvalid.eq(1), self.s_axi_rdata.eq(0)]
            for offset, value in values.items():
                with m.If(self.s_axi_araddr == offset):
                    m.d.sync += self.s_axi_rdata.eq(value)
            with m.If(self.s_axi_araddr == abi.COUNTER_BASE):
                m.d.sync += high.eq(cycles[32:])

        m.d.comb += self.s_axis_program_tready.eq(1)
        with m.If(self.s_axis_program_tvalid):
            m.d.sync += program.eq(program + self.s_axis_program_tdata)

        # Frames: sum, then answer. A memory, so that emitted designs with one are covered.
        total, beat, answering = Signal(32), Signal(range(self.classes + 2)), Signal()
        m.submodules.sums = sums = memory.Memory(shape=32, depth=4, init=[])
        sums_w, sums_r = sums.write_port(), sums.read_port()
        beats = self.classes + (self.fault == "long")
        m.d.comb += [self.s_axis_input_tready.eq(~answering), sums_r.en.eq(1),
                     sums_w.data.eq(total + self.s_axis_input_tdata),
                     self.m_axis_output_tvalid.eq((self.fault != "silent") & answering & (beat != 0)),
                     self.m_axis_output_tdata.eq(sums_r.data + beat - 1 + scratch),
                     self.m_axis_output_tlast.eq(beat == beats)]
        if self.fault == "unstable":
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
        if self.trace_bits:
            m.d.comb += [self.trace_0_0_valid.eq(self.m_axis_output_tvalid & self.m_axis_output_tready),
                         self.trace_0_0_data.eq(Cat(self.m_axis_output_tdata.replicate(-(-self.trace_bits // 32)))
                                                [:self.trace_bits])]
        return m
