"""Memories under traffic of a test, behind the ports of the top: the simulation drives RTL and netlists alike."""

import dataclasses

import numpy as np
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qblif.sim.bench.stand_in import AXI
from qblif.sim.simulation import Simulation
from qblif.sim.verilator import trace_ports

ADDRESS = 14
"""Bits of an address in a command; memories take as many of the lowest as they need."""

PINS = {"RSTA": 28, "RSTB": 28, "WEB": 29, "CSA1": 30, "CSB2": 31}
"""Pins of a block RAM that have to be 0 -> the bit of a command that sets them."""

WIDTHS = (1, 2, 4, 9, 18, 36)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A memory: bits of a row, rows, attributes, contents, whether it is read without a clock, or in every cycle and
    through a register."""

    width: int
    depth: int
    attrs: tuple = ()
    init: tuple[int, ...] = ()
    comb: bool = False
    registered: bool = False
    guarded: bool = True
    """Not read where it is written: what `no_rw_check` promises of a design."""

    @property
    def promises(self) -> bool:
        return "no_rw_check" in dict(self.attrs)


def commands(rng: np.random.Generator, cycles: int, write=0.5, read=0.7, same=0.2, rows=1 << ADDRESS):
    """Return commands (uint32 [cycles]): write and read enables, a write and a read address below `rows`.

    same: how often both addresses are the same."""
    writes, reads = rng.random(cycles) < write, rng.random(cycles) < read
    to, of = rng.integers(0, rows, (2, cycles))
    of = np.where(rng.random(cycles) < same, to, of)
    return (writes | reads << 1 | to << 2 | of << 2 + ADDRESS).astype(np.uint32) & np.uint32((1 << 28) - 1)


def run(verilog: str, commands: np.ndarray, data: np.ndarray) -> list[np.ndarray]:
    """Return what the trace ports of `verilog` show in each cycle: per port an array (cycles, words of 32 bits)."""
    with Simulation(None, verilog=verilog, threads=1) as sim:
        model = sim.raw
        model.tracing(True)
        for stream, beats in (("program", commands), ("input", data)):
            model.send(stream, beats, np.zeros(len(beats), np.uint8))
        model.run(len(commands))
        return [model.trace(index, port.words)[0] for index, port in enumerate(trace_ports(verilog))]


def integers(words: np.ndarray) -> list[int]:
    """Return rows of 32-bit words, lowest first, as Python integers."""
    return [int.from_bytes(row.astype("<u4").tobytes(), "little") for row in words]


def initvals(width: int, rows) -> list[int]:
    """Return the 64 INITVAL parameters of a DP16KD that holds `rows`: bytes of 9 bits, two to a word of 18,
    16 words to a parameter, 20 bits apart."""
    octets = [0] * 2048
    for index, row in enumerate(rows):
        if width < 9:
            octets[index * width // 8] |= int(row) << index * width % 8
        else:
            for part in range(width // 9):
                octets[index * (width // 9) + part] = int(row) >> 9 * part & 0x1FF
    words = [low | high << 9 for low, high in zip(octets[::2], octets[1::2], strict=True)]
    return [sum(word << 20 * i for i, word in enumerate(words[at:at + 16])) for at in range(0, 1024, 16)]


class Traffic(wiring.Component):
    """The ports of the top: one command (program stream) and 32 bits of data (input stream) a cycle, a trace port for
    each of `widths`, valid all the time. Data that is wider continues with what came in the cycles before."""

    def __init__(self, widths):
        self.widths = tuple(widths)
        ports = {f"s_axi_{name}": member for name, member in AXI.items()}
        for name, flow, back in (("s_axis_program", In, Out), ("s_axis_input", In, Out), ("m_axis_output", Out, In)):
            ports |= {f"{name}_tdata": flow(32), f"{name}_tvalid": flow(1), f"{name}_tlast": flow(1),
                      f"{name}_tready": back(1)}
        for index, width in enumerate(self.widths):
            ports |= {f"trace_{index}_0_valid": Out(1), f"trace_{index}_0_data": Out(width)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        command = Mux(self.s_axis_program_tvalid, self.s_axis_program_tdata, 0)
        words = [self.s_axis_input_tdata] + [Signal(32, name=f"word_{i}") for i in range(max(self.widths) // 32)]
        m.d.sync += [after.eq(before) for before, after in zip(words, words[1:], strict=False)]
        m.d.comb += [self.s_axis_program_tready.eq(1), self.s_axis_input_tready.eq(1)]
        outputs = self.attach(m, command, Cat(*words))
        for index, output in enumerate(outputs):
            m.d.comb += [getattr(self, f"trace_{index}_0_valid").eq(1),
                         getattr(self, f"trace_{index}_0_data").eq(output)]
        return m


class Memories(Traffic):
    """A memory of each shape."""

    def __init__(self, shapes):
        self.shapes = shapes
        super().__init__(shape.width for shape in shapes)

    def attach(self, m, command, data):
        outputs = []
        for index, shape in enumerate(self.shapes):
            memory = Memory(shape=shape.width, depth=shape.depth, init=shape.init, attrs=dict(shape.attrs))
            m.submodules[f"memory_{index}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb" if shape.comb else "sync")
            m.d.comb += [write.en.eq(command[0]), write.addr.eq(command[2:2 + ADDRESS]), write.data.eq(data),
                         read.addr.eq(command[2 + ADDRESS:2 + 2 * ADDRESS])]
            if shape.registered:
                asked, last = command[2 + ADDRESS:2 + 2 * ADDRESS], Signal.like(read.data, reset_less=True)
                asked = asked[:len(read.addr)]
                m.d.comb += [read.en.eq(1), read.addr.eq(asked ^ (write.en & (write.addr == asked)))]
                m.d.sync += last.eq(read.data)
                outputs.append(last)
                continue
            if not shape.comb:
                hit = write.en & (write.addr == read.addr)
                m.d.comb += read.en.eq(command[1] & ~(hit & shape.promises & shape.guarded))
            outputs.append(read.data)
        return outputs


class BlockRams(Traffic):
    """A DP16KD of each width, wired as Yosys wires them; port A's outputs follow port B's."""

    def __init__(self, contents: dict[int, np.ndarray]):
        self.contents = contents
        super().__init__(36 for _ in WIDTHS)

    def attach(self, m, command, data):
        return [self.block_ram(m, width, command, data) for width in WIDTHS]

    def block_ram(self, m, width, command, data):
        shift = WIDTHS.index(width)
        to, of = Signal(14, name=f"to_{width}"), Signal(14, name=f"of_{width}")
        enable, reads = Signal(name=f"enable_{width}"), Signal(name=f"reads_{width}")
        m.d.comb += [to.eq(command[2:2 + ADDRESS] << shift), of.eq(command[2 + ADDRESS:2 + 2 * ADDRESS] << shift),
                     enable.eq(command[0]), reads.eq(command[1])]
        if width >= 18:     # the lowest pins enable bytes
            m.d.comb += to[:width // 9].eq(enable.replicate(width // 9))
        mode = "NORMAL" if width == 36 else "READBEFOREWRITE"
        parameters = {"DATA_WIDTH_A": width, "DATA_WIDTH_B": width, "REGMODE_A": "NOREG", "REGMODE_B": "NOREG",
                      "RESETMODE": "ASYNC", "ASYNC_RESET_RELEASE": "ASYNC", "CSDECODE_A": "0b000",
                      "CSDECODE_B": "0b000", "CLKAMUX": "CLKA", "CLKBMUX": "CLKB", "GSR": "DISABLED",
                      "WRITEMODE_A": mode, "WRITEMODE_B": mode}
        parameters |= {f"INITVAL_{i:02X}": Const(value, 320)
                       for i, value in enumerate(initvals(width, self.contents[width]))}
        low, high = Signal(18, name=f"low_{width}"), Signal(18, name=f"high_{width}")
        pins = {"CEA": 1, "WEA": 1 if width == 36 else enable, "CEB": reads, "OCEA": 1, "OCEB": 1,
                "CLKA": ClockSignal(), "CLKB": ClockSignal()}
        pins |= {pin: command[bit] for pin, bit in PINS.items()}
        for i in range(14):
            pins |= {f"ADA{i}": to[i], f"ADB{i}": of[i]}
        for i in range(18):
            pins |= {f"DIA{i}": data[i] if i < width else 0, f"DIB{i}": data[18 + i] if width == 36 else 0}
        m.submodules[f"block_ram_{width}"] = Instance(
            "DP16KD", *(("p", name, value) for name, value in parameters.items()),
            *(("i", name, value) for name, value in pins.items()),
            *(("o", f"DOA{i}", low[i]) for i in range(18)), *(("o", f"DOB{i}", high[i]) for i in range(18)))
        return Cat(low, high) if width == 36 else Cat(high, low)
