"""Hardware hand-off files (.hwh): what PYNQ reads, beside the .bit, to find the accelerator and its registers.

Vivado writes such a file for a block design; for a design without one, and with every register described, `hwh` writes
it. The text holds what the parsers of pynq 3.0.1, 3.1.2 and 4.0.0 need and nothing else. `patch_hwh` adds to Vivado's
file what is missing there. Plain Python, no third-party import.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

from . import abi
from .errors import QblifError

VLNV = "qblif.org:qblif:qblif_dma:1.0"
"""Vendor, library, name and version of the accelerator: what a PYNQ driver binds to."""

INSTANCE = "qblif_0"
"""Name of the accelerator within the overlay: ``overlay.qblif_0``."""

MODULE = "qblif_block"
"""Name of the Verilog module in a block design, by which Vivado's own .hwh names the accelerator's type."""

BASE_ADDRESS = {"zynq": 0x43C0_0000, "zynqmp": 0xA000_0000}
"""Family -> address of register 0 for the processor: Zynq-7000 in M_AXI_GP0, Zynq UltraScale+ in M_AXI_HPM0_FPD."""

ADDRESS_RANGE = 0x1_0000
"""Bytes of address space that the accelerator takes; the registers repeat every abi.REGISTER_SPACE."""

_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}
_AXI = "xilinx.com:interface:aximm:1.0"
_SLAVE = "s_axi"


class HwhError(QblifError):
    """A .hwh file that is none, or does not describe one accelerator of ours."""


@dataclasses.dataclass(frozen=True)
class Processor:
    """A processing system and the clocks it gives to the programmable logic.

    family: key of BASE_ADDRESS; ip: Vivado's name of it; vlnv: of the version whose parameters are used; instance: its
    name; master: port on which the registers are; pll_mhz: frequency of the IO PLL, in MHz, as the boards' boot
    loaders set it (Zynq-7000: 50 MHz crystal times 20; UltraScale+: 33.33 MHz times 45).
    """

    family: str
    ip: str
    vlnv: str
    instance: str
    master: str
    pll_mhz: float

    def clock(self, mhz: float) -> tuple[int, int, float]:
        """Return the two divisors (1 to 63) for the highest frequency up to `mhz`, and that frequency in MHz.

        Raises ValueError outside of 1 to 500 MHz."""
        if not 1 <= mhz <= 500:
            raise ValueError(f"the clock is {mhz} MHz, allowed is 1 to 500")
        # The smallest product that does not exceed the clock asked; a rounding error must not cost a step.
        product, second, first = min((first * second, second, first) for first in range(1, 64)
                                     for second in range(1, first + 1)
                                     if self.pll_mhz / (first * second) <= mhz * (1 + 1e-9))
        return first, second, self.pll_mhz / product

    def parameters(self, mhz: float) -> dict[str, str]:
        """Return the parameters that tell PYNQ the clocks: clock 0 at `mhz` or just below, 1 to 3 off."""
        zynq, found = self.family == "zynq", {}
        for index in range(4):
            first, second, actual = self.clock(mhz) if index == 0 else (1, 1, 0.0)
            enabled = str(int(index == 0))
            if zynq:
                found |= {f"PCW_FPGA_FCLK{index}_ENABLE": enabled, f"PCW_FCLK{index}_PERIPHERAL_CLKSRC": "IO PLL",
                          f"PCW_FCLK{index}_PERIPHERAL_DIVISOR0": str(first),
                          f"PCW_FCLK{index}_PERIPHERAL_DIVISOR1": str(second)}
            else:
                found |= {f"PSU__FPGA_PL{index}_ENABLE": enabled, f"PSU__CRL_APB__PL{index}_REF_CTRL__SRCSEL": "IOPLL",
                          f"PSU__CRL_APB__PL{index}_REF_CTRL__DIVISOR0": str(first),
                          f"PSU__CRL_APB__PL{index}_REF_CTRL__DIVISOR1": str(second)}
            if index == 0 or not zynq:
                # pynqmetadata 0.2.0 looks for the UltraScale+ name on Zynq-7000 too, and pynq 4.0.0 then fails.
                found |= {_frequency(index): f"{actual:.6f}"}
        if not zynq:
            found |= {"C_MAXIGP0_DATA_WIDTH": "32", "C_SAXIGP2_DATA_WIDTH": "64"}
        return found


PROCESSORS = {
    "zynq": Processor("zynq", "processing_system7", "xilinx.com:ip:processing_system7:5.5", "processing_system7_0",
                      "M_AXI_GP0", 1000.0),
    "zynqmp": Processor("zynqmp", "zynq_ultra_ps_e", "xilinx.com:ip:zynq_ultra_ps_e:3.5", "zynq_ultra_ps_e_0",
                        "M_AXI_HPM0_FPD", 1500.0),
}
"""Family -> its processing system."""


def _frequency(index: int) -> str:
    return f"PSU__CRL_APB__PL{index}_REF_CTRL__ACT_FREQMHZ"


def registers() -> list[tuple[str, int, str, str]]:
    """Return name, byte offset, access and description of every register, counters included, by offset."""
    counters = []
    for index, (name, description) in enumerate(abi.COUNTERS):
        offset = abi.COUNTER_BASE + 8 * index
        counters += [(f"{name.upper()}_LO", offset, "ro", f"{description}; low word, latches the high word"),
                     (f"{name.upper()}_HI", offset + 4, "ro", f"{description}; high word")]
    return sorted([*abi.REGISTERS, *abi.JOB_REGISTERS, *counters], key=lambda register: register[1])


def fields(register: str) -> list[tuple[str, int, int, str]]:
    """Return name, lowest bit, width and description of a register's fields; the whole word where it has none."""
    packed = {"STATUS": abi.STATUS_FIELDS, "CAPS": abi.CAPS_FIELDS, "JOB_STATUS": abi.JOB_STATUS_FIELDS}
    if register in packed:
        found, at = [], 0
        for name, bits in packed[register]:
            if name != "reserved":
                found.append((name, at, bits, f"{name} of {register}"))
            at += bits
        return found
    return {
        "CONTROL": [("reset", 0, 1, "write 1 to reset everything but WATCHDOG and SCRATCH")],
        "JOB_CONTROL": [("start", 0, 1, "write 1 to start a job"), ("abort", 1, 1, "write 1 to abort the job")],
        "JOB_KIND": [("program", 0, 1, "0: frames are images; 1: one program frame")],
    }.get(register, [])


def _properties(parent: ET.Element, **values) -> None:
    for name, value in values.items():
        ET.SubElement(parent, "PROPERTY", NAME=name, VALUE=str(value))


def _address_blocks() -> ET.Element:
    """Return the ADDRESSBLOCKS element with every register."""
    blocks = ET.Element("ADDRESSBLOCKS")
    block = ET.SubElement(blocks, "ADDRESSBLOCK", ACCESS="read-write", INTERFACE=_SLAVE, NAME="reg0",
                          RANGE=str(abi.REGISTER_SPACE), USAGE="register")
    listed = ET.SubElement(block, "REGISTERS")
    for name, offset, access, description in registers():
        register = ET.SubElement(listed, "REGISTER", NAME=name)
        # IS_ENABLED and RESET_VALUE: pynqmetadata looks for the former, Vivado writes both.
        _properties(register, DESCRIPTION=description, ADDRESS_OFFSET=f"0x{offset:X}", SIZE=32, ACCESS=_ACCESS[access],
                    IS_ENABLED="true", RESET_VALUE="0x0")
        if fields(name):
            parts = ET.SubElement(register, "FIELDS")
            for part, at, bits, meaning in fields(name):
                _properties(ET.SubElement(parts, "FIELD", NAME=part), DESCRIPTION=meaning,
                            ADDRESS_OFFSET=f"0x{offset:X}", ACCESS=_ACCESS[access], BIT_OFFSET=at, BIT_WIDTH=bits)
    return blocks


def _hashes(build: int, program: int) -> dict[str, str]:
    for what, value in (("build", build), ("program", program)):
        if not isinstance(value, int) or not 0 <= value < 1 << 64:
            raise ValueError(f"the {what} hash is {value!r}, allowed is a number of 64 bits")
    return {"QBLIF_ABI": str(abi.ABI_VERSION), "QBLIF_BUILD": f"0x{build:016X}", "QBLIF_PROGRAM": f"0x{program:016X}"}


def _parameters(parent: ET.Element, values: dict[str, str]) -> None:
    """Set parameters of a module, new or in place."""
    listed = parent.find("PARAMETERS")
    if listed is None:
        listed = ET.SubElement(parent, "PARAMETERS")
    known = {parameter.get("NAME"): parameter for parameter in listed.findall("PARAMETER")}
    for name, value in values.items():
        if name in known:
            known[name].set("VALUE", value)
        else:
            ET.SubElement(listed, "PARAMETER", NAME=name, VALUE=value)


def _bus(parent: ET.Element, name: str, kind: str) -> None:
    ET.SubElement(ET.SubElement(parent, "BUSINTERFACES"), "BUSINTERFACE", NAME=name, TYPE=kind, VLNV=_AXI)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def hwh(family: str, clock_mhz: float, build: int, program: int = 0, name: str = "qblif") -> str:
    """Return the text of a .hwh file for a design of ours.

    family: key of PROCESSORS; clock_mhz: asked for the accelerator, which gets that or just below; build, program:
    64-bit hashes of the hardware and of a program baked into it (0: none), as parameters QBLIF_BUILD and
    QBLIF_PROGRAM of the accelerator; name: of the design. Raises ValueError."""
    if family not in PROCESSORS:
        raise ValueError(f"the family is {family!r}, allowed is one of {tuple(PROCESSORS)}")
    processor = PROCESSORS[family]
    base = BASE_ADDRESS[family]
    root = ET.Element("EDKSYSTEM")
    ET.SubElement(root, "SYSTEMINFO", NAME=name)
    ET.SubElement(root, "EXTERNALPORTS")
    ET.SubElement(root, "EXTERNALINTERFACES")
    modules = ET.SubElement(root, "MODULES")

    # IS_PL: pynqmetadata before 0.2 asks for it.
    system = ET.SubElement(modules, "MODULE", FULLNAME=f"/{processor.instance}", INSTANCE=processor.instance,
                           IS_PL="FALSE", MODTYPE=processor.ip, VLNV=processor.vlnv)
    _parameters(system, processor.parameters(clock_mhz))
    _bus(system, processor.master, "MASTER")
    ET.SubElement(ET.SubElement(system, "MEMORYMAP"), "MEMRANGE", ADDRESSBLOCK="reg0", BASEVALUE=f"0x{base:08X}",
                  HIGHVALUE=f"0x{base + ADDRESS_RANGE - 1:08X}", INSTANCE=INSTANCE,
                  MASTERBUSINTERFACE=processor.master, MEMTYPE="REGISTER", SLAVEBUSINTERFACE=_SLAVE)

    accelerator = ET.SubElement(modules, "MODULE", FULLNAME=f"/{INSTANCE}", INSTANCE=INSTANCE,
                                MODTYPE=VLNV.split(":")[2], VLNV=VLNV)
    accelerator.append(_address_blocks())
    _parameters(accelerator, _hashes(build, program))
    _bus(accelerator, _SLAVE, "SLAVE")
    return _text(root)


def _one(found: list, what: str):
    if len(found) != 1:
        raise HwhError(f"the .hwh file has {len(found)} {what}, one is expected",
                       hint="It should be what Vivado wrote for the block design of this project.")
    return found[0]


def patch_hwh(text: str, clock_mhz: float, build: int, program: int = 0) -> str:
    """Return Vivado's .hwh file with what PYNQ needs and Vivado does not write.

    The accelerator gets its VLNV, its registers and the parameters of `hwh`; the processing system gets the divisors
    of this clock for the PLL as boards have it, and the frequency under the name that pynq 4.0.0 looks for. All else
    stays. Raises HwhError where the file is none, or has not exactly one accelerator at its address; ValueError as
    `hwh`."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise HwhError("the .hwh file declares a document type, which Vivado never does", hint="Do not use this file.")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise HwhError(f"the .hwh file is no XML: {error}", hint="Build it again, or copy it again.") from None
    if root.tag != "EDKSYSTEM":
        raise HwhError(f"the .hwh file is XML of another kind: its root is {root.tag!r}, not 'EDKSYSTEM'",
                       hint="It should be what Vivado wrote for the block design of this project.")
    modules = root.findall("./MODULES/MODULE")
    system = _one([module for module in modules if module.get("MODTYPE") in {p.ip for p in PROCESSORS.values()}],
                  "processing systems")
    processor = next(p for p in PROCESSORS.values() if p.ip == system.get("MODTYPE"))
    ours = ([MODULE], [VLNV.split(":")[2]])
    accelerator = _one([module for module in modules if module.get("VLNV", "").split(":")[2:3] in ours],
                       "accelerators (modules of type qblif_block)")
    instance, base = accelerator.get("INSTANCE"), BASE_ADDRESS[processor.family]
    ranges = {int(found.get("BASEVALUE", "-1"), 0) for found in system.findall("./MEMORYMAP/MEMRANGE")
              if found.get("INSTANCE") == instance}
    if ranges != {base}:
        raise HwhError(f"the accelerator is at {', '.join(f'0x{found:X}' for found in sorted(ranges)) or 'no address'} "
                       f"for the processor, 0x{base:X} is expected",
                       hint="Build the project again from its own build.tcl, unchanged.")
    accelerator.set("VLNV", VLNV)
    accelerator.set("MODTYPE", VLNV.split(":")[2])
    for blocks in accelerator.findall("ADDRESSBLOCKS"):
        accelerator.remove(blocks)
    accelerator.insert(0, _address_blocks())
    _parameters(accelerator, _hashes(build, program))
    system.set("IS_PL", "FALSE")
    _parameters(system, processor.parameters(clock_mhz))
    return _text(root)
