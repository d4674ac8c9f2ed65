"""The .hwh file: every register is described, PYNQ's parsers find what they look for, Vivado's file is completed."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from qblif.host import abi, hwh
from qblif.host.hwh import BASE_ADDRESS, INSTANCE, PROCESSORS, VLNV, HwhError, patch_hwh

BUILD, PROGRAM = 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210
GOLDEN = Path(__file__).with_name("golden")

FAMILIES = pytest.mark.parametrize("family", PROCESSORS)


def text(family="zynq", mhz=100, **options):
    return hwh.hwh(family, mhz, BUILD, **options)


def parameters(root, instance):
    return {found.get("NAME"): found.get("VALUE")
            for found in root.findall(f"./MODULES/MODULE[@INSTANCE='{instance}']/PARAMETERS/PARAMETER")}


def properties(element):
    return {found.get("NAME"): found.get("VALUE") for found in element.findall("PROPERTY")}


def described(root):
    """Return register name -> its properties, and -> its fields' properties."""
    listed = root.findall(f"./MODULES/MODULE[@INSTANCE='{INSTANCE}']/ADDRESSBLOCKS/ADDRESSBLOCK/REGISTERS/REGISTER")
    assert len({register.get("NAME") for register in listed}) == len(listed)
    return ({register.get("NAME"): properties(register) for register in listed},
            {register.get("NAME"): {field.get("NAME"): properties(field) for field in register.findall("FIELDS/FIELD")}
             for register in listed})


@FAMILIES
def test_every_register_is_described_at_its_offset(family):
    found, _ = described(ET.fromstring(text(family)))
    access = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}
    for name, offset, mode, description in (*abi.REGISTERS, *abi.JOB_REGISTERS):
        register = found.pop(name)
        assert (int(register["ADDRESS_OFFSET"], 0), register["ACCESS"], register["DESCRIPTION"], register["SIZE"],
                register["IS_ENABLED"]) == (offset, access[mode], description, "32", "true")
    for index, (name, _) in enumerate(abi.COUNTERS):
        for half, end in enumerate(("LO", "HI")):
            offset = int(found.pop(f"{name.upper()}_{end}")["ADDRESS_OFFSET"], 0)
            assert offset == abi.COUNTER_BASE + 8 * index + 4 * half
    assert not found


def test_offsets_are_unique_words_within_the_register_space():
    offsets = [offset for _, offset, _, _ in hwh.registers()]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 and 0 <= offset < abi.REGISTER_SPACE for offset in offsets)


def test_names_can_be_attributes_of_a_register_map():
    for name, _, _, _ in hwh.registers():
        assert name.isidentifier()
        assert all(field.isidentifier() for field, _, _, _ in hwh.fields(name))


@pytest.mark.parametrize(("name", "layout"), [("STATUS", abi.STATUS_FIELDS), ("CAPS", abi.CAPS_FIELDS),
                                              ("JOB_STATUS", abi.JOB_STATUS_FIELDS)])
def test_fields_decode_what_the_abi_packs(name, layout):
    _, fields = described(ET.fromstring(text()))
    values = {field: 0b10110101 & (1 << bits) - 1 for field, bits in layout}
    word = abi.pack(layout, values)
    for field, found in fields[name].items():
        at, bits = int(found["BIT_OFFSET"]), int(found["BIT_WIDTH"])
        assert word >> at & (1 << bits) - 1 == values[field]
    assert set(fields[name]) == set(values) - {"reserved"}


@FAMILIES
def test_the_accelerator_is_found_at_its_address_with_its_hashes(family):
    root = ET.fromstring(text(family, program=PROGRAM))
    assert root.find(f"./MODULES/MODULE[@INSTANCE='{INSTANCE}']").get("VLNV") == VLNV
    (place,) = root.findall("./MODULES/MODULE/MEMORYMAP/MEMRANGE")
    assert (place.get("INSTANCE"), int(place.get("BASEVALUE"), 0)) == (INSTANCE, BASE_ADDRESS[family])
    assert int(place.get("HIGHVALUE"), 0) - int(place.get("BASEVALUE"), 0) + 1 >= abi.REGISTER_SPACE
    found = parameters(root, INSTANCE)
    assert (int(found["QBLIF_BUILD"], 0), int(found["QBLIF_PROGRAM"], 0)) == (BUILD, PROGRAM)


@pytest.mark.parametrize(("family", "asked", "actual"), [
    ("zynq", 100, 100), ("zynq", 142, 1000 / 8), ("zynq", 143, 1000 / 7), ("zynq", 76.923, 1000 / 14),
    ("zynq", 1, 1), ("zynqmp", 100, 100), ("zynqmp", 300, 300), ("zynqmp", 299, 250),
])
def test_the_clock_is_the_highest_that_does_not_exceed_what_was_asked(family, asked, actual):
    first, second, found = PROCESSORS[family].clock(asked)
    assert found == pytest.approx(actual)
    assert found == PROCESSORS[family].pll_mhz / (first * second) and 1 <= second <= first <= 63


@pytest.mark.parametrize("mhz", [0, -1, 501, float("nan")])
def test_a_clock_that_cannot_be_is_refused(mhz):
    with pytest.raises(ValueError, match="the clock is .* MHz, allowed is 1 to 500"):
        text(mhz=mhz)


def test_zynq_7000_carries_the_frequency_where_pynq_4_looks_for_it():
    found = parameters(ET.fromstring(text(mhz=50)), "processing_system7_0")
    assert float(found["PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"]) == 50
    assert 1000 / int(found["PCW_FCLK0_PERIPHERAL_DIVISOR0"]) / int(found["PCW_FCLK0_PERIPHERAL_DIVISOR1"]) == 50
    assert [found[f"PCW_FPGA_FCLK{index}_ENABLE"] for index in range(4)] == ["1", "0", "0", "0"]


@FAMILIES
def test_the_text_is_the_golden_one(family):
    """Change the golden file only together with a run of the three PYNQ versions against it."""
    assert text(family) == (GOLDEN / f"{family}.hwh").read_text()


@pytest.mark.parametrize(("change", "says"), [
    (dict(family="versal"), "the family is 'versal', allowed is one of \\('zynq', 'zynqmp'\\)"),
    (dict(build=-1), "the build hash is -1"), (dict(program=1 << 64), "the program hash is"),
])
def test_bad_arguments_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        hwh.hwh(**(dict(family="zynq", clock_mhz=100, build=BUILD) | change))


def vivado(base="0x43C00000", module="xilinx.com:module_ref:qblif_block:1.0", divisor=4):
    """Return the shape of what Vivado writes for a block design: no registers, divisors of another PLL, a bus."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<EDKSYSTEM VIVADOVERSION="2024.1"><SYSTEMINFO DEVICE="7z020" NAME="design"/>
<EXTERNALPORTS><PORT DIR="IO" NAME="DDR_cas_n"/></EXTERNALPORTS><EXTERNALINTERFACES/>
<MODULES>
 <MODULE FULLNAME="/ps" INSTANCE="ps" IPTYPE="PROCESSOR" MODTYPE="processing_system7"
  VLNV="xilinx.com:ip:processing_system7:5.5">
  <PARAMETERS><PARAMETER NAME="PCW_FCLK0_PERIPHERAL_DIVISOR0" VALUE="{divisor}"/>
   <PARAMETER NAME="PCW_OTHER" VALUE="x"/></PARAMETERS>
  <BUSINTERFACES><BUSINTERFACE NAME="M_AXI_GP0" TYPE="MASTER" VLNV="xilinx.com:interface:aximm:1.0"/></BUSINTERFACES>
  <MEMORYMAP><MEMRANGE BASEVALUE="{base}" HIGHVALUE="0x43C0FFFF" INSTANCE="core"
   MASTERBUSINTERFACE="M_AXI_GP0"/></MEMORYMAP>
 </MODULE>
 <MODULE FULLNAME="/core" INSTANCE="core" IS_PL="TRUE" MODTYPE="qblif_block" VLNV="{module}">
  <DOCUMENTS/><ADDRESSBLOCKS><ADDRESSBLOCK INTERFACE="s_axi" NAME="reg0" USAGE="register"/></ADDRESSBLOCKS>
  <PARAMETERS><PARAMETER NAME="Component_Name" VALUE="design_core_0"/></PARAMETERS>
  <BUSINTERFACES><BUSINTERFACE NAME="s_axi" TYPE="SLAVE" VLNV="xilinx.com:interface:aximm:1.0"/></BUSINTERFACES>
 </MODULE>
 <MODULE FULLNAME="/rst" INSTANCE="rst" MODTYPE="proc_sys_reset" VLNV="xilinx.com:ip:proc_sys_reset:5.0"/>
</MODULES></EDKSYSTEM>"""


def test_vivados_file_gets_registers_identity_and_clock_and_keeps_the_rest():
    root = ET.fromstring(patch_hwh(vivado(), 100, BUILD, PROGRAM))
    core = root.find("./MODULES/MODULE[@INSTANCE='core']")
    assert (core.get("VLNV"), core.get("MODTYPE")) == (VLNV, "qblif_dma")
    assert len(core.findall("ADDRESSBLOCKS")) == 1
    registers = core.findall("ADDRESSBLOCKS/ADDRESSBLOCK/REGISTERS/REGISTER")
    assert [register.get("NAME") for register in registers] == [name for name, _, _, _ in hwh.registers()]
    assert parameters(root, "core")["Component_Name"] == "design_core_0"
    assert int(parameters(root, "core")["QBLIF_BUILD"], 0) == BUILD
    system = parameters(root, "ps")
    assert (system["PCW_FCLK0_PERIPHERAL_DIVISOR0"], system["PCW_OTHER"]) == ("10", "x")
    assert float(system["PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"]) == 100
    assert root.find("EXTERNALPORTS/PORT").get("NAME") == "DDR_cas_n"


def test_patching_twice_is_patching_once():
    once = patch_hwh(vivado(), 100, BUILD)
    assert patch_hwh(once, 100, BUILD) == once
    assert patch_hwh(text(), 100, BUILD) == text()


@pytest.mark.parametrize(("broken", "says"), [
    ("<EDKSYSTEM>", "no XML"),
    ("<html/>", "its root is 'html'"),
    ("<!DOCTYPE x><EDKSYSTEM/>", "declares a document type"),
    ("<EDKSYSTEM/>", "0 processing systems"),
    (vivado(module="xilinx.com:module_ref:other:1.0"), "0 accelerators"),
    (vivado(base="0x40000000"), "at 0x40000000 for the processor, 0x43C00000 is expected"),
    (re.sub(r"<MEMRANGE [^>]*>", "", vivado()), "at no address"),
    (vivado().replace('INSTANCE="rst" MODTYPE="proc_sys_reset" VLNV="xilinx.com:ip:proc_sys_reset:5.0"',
                      'INSTANCE="b" MODTYPE="qblif_block" VLNV="xilinx.com:module_ref:qblif_block:1.0"'),
     "2 accelerators"),
])
def test_a_file_that_does_not_describe_our_design_is_refused(broken, says):
    with pytest.raises(HwhError, match=says):
        patch_hwh(broken, 100, BUILD)
