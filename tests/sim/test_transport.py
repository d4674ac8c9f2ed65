"""The target `sim`: the transport protocol over simulated hardware, and what it refuses to simulate."""

import functools
import types

import numpy as np
import pytest

from qblif.host.errors import BundleError, DeviceError, Timeout, UnknownTarget
from qblif.hw.emit import emit
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim.bench.stand_in import REGISTER, StandIn
from qblif.sim.simulation import design_verilog
from qblif.sim.transport import check_harmless, open_transport


@functools.cache
def bundle():
    return types.SimpleNamespace(verilog=emit(StandIn(), "qblif_top"), path="some.qblif")


@pytest.fixture
def transport():
    opened = open_transport(bundle(), "sim", 10.0, threads=2)
    yield opened
    opened.close()


def test_registers_programs_and_images_go_through(transport):
    transport.write(REGISTER["SCRATCH"], 7)
    transport.program(np.array([1, 2], np.uint32), 10.0)
    seen = []
    logits, cycles = transport.infer(np.arange(60, dtype=np.uint32).reshape(30, 2), 3, 10.0, seen.append)
    assert transport.read(REGISTER["SCRATCH"]) == 7
    assert logits[:2].tolist() == [[8, 9, 10], [12, 13, 14]]
    assert cycles.shape == (30,) and np.all(cycles > 0) and seen[-1] == 30


def test_seconds_without_an_image_are_a_timeout(transport):
    transport.write(REGISTER["SCRATCH"], StandIn.SILENT)
    with pytest.raises(Timeout, match="seconds"):
        transport.infer(np.zeros((2, 2), np.uint32), 3, 0.05)


def test_error_codes_come_through_and_a_reset_mends_them(transport):
    with pytest.raises(DeviceError):
        transport.program(np.array([13], np.uint32), 10.0)
    transport.write(REGISTER["CONTROL"], 1)
    transport.program(np.array([5], np.uint32), 10.0)
    assert transport.read(REGISTER["PROGRAM_LO"]) == 5


def test_details_of_the_target_are_refused():
    with pytest.raises(UnknownTarget, match="sim:fast"):
        open_transport(bundle(), "sim:fast", 1.0)


def test_emitted_hardware_is_harmless():
    core = CoreParams(lanes=4, word_bits=32, neuron_lanes=1, map_depth=16, weight_depth=16, layer_depth=2,
                      source_depth=2, channel_depth=4, contexts=2, clusters=2)
    check_harmless(design_verilog(DesignParams((core,)), trace=True), "here")


@pytest.mark.parametrize("code", [
    '$c("system(1);")', "$readmemh(x)", "`include x", "` include x", 'import "DPI-C" function void f();',
    "bind top evil x();",
    '"\\\\"$c(1)',          # a string that ends in a backslash
    "/*\\*/$c(1)",          # a comment that ends after one
    "@(*) y = $c(1); z = (w *)",
    '"//"; $c(1)',
])
def test_code_that_could_act_on_the_machine_is_refused(code):
    with pytest.raises(BundleError, match="emitted hardware never does"):
        check_harmless(f"module qblif_top;\n  {code} ;\nendmodule\n", "here")
    evil = types.SimpleNamespace(verilog=bundle().verilog.replace("endmodule", f"{code} ;\nendmodule", 1), path="here")
    with pytest.raises(BundleError):
        open_transport(evil, "sim", 1.0)
