"""Run inside an environment of pynq, by test_versions.py: a virtual board as a `pynq.Device` of this process."""

from __future__ import annotations

import json
import os
import pathlib
import xml.etree.ElementTree as ET

import numpy as np
import pynq
import pynqmetadata
import pytest
from pynq.pl_server import global_state

from qblif.host import abi, hwh, jobs, overlays, resident
from qblif.host import open as open_accelerator
from qblif.host.bundle import Bundle
from qblif.host.errors import (
    BuildMismatch,
    ClockError,
    DeviceError,
    OutOfBoardMemory,
    OverlayError,
    PartMismatch,
)
from qblif.sim.board.board import Board, load_designs
from qblif.sim.board.device import install
from qblif.sim.board.faults import SLAVE_ERROR, Fault

CASE = pathlib.Path(os.environ["QBLIF_PYNQ_CASE"])
CYCLES = 20_000


def designs():
    return {digest: design for path in sorted(CASE.glob("*/board.json"))
            for digest, design in load_designs(path).items()}


@pytest.fixture(autouse=True)
def a_board_that_was_just_switched_on(tmp_path, monkeypatch):
    """No note of ours, and none of pynq's, whose file other checks of the same environment write, too."""
    monkeypatch.setattr(resident, "NOTE", str(tmp_path / "note.json"))
    monkeypatch.setattr(global_state, "STATE_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def bundle():
    return Bundle.load(CASE / "digits.qblif")


@pytest.fixture(params=["pynq-z2", "kv260"])
def board(request):
    made = Board(request.param, designs(), CYCLES)
    made.folder = CASE / f"digits.{request.param}"
    yield made
    made.close()


@pytest.fixture
def device(board):
    return install(board)


@pytest.fixture
def zynq():
    made = Board("pynq-z2", designs(), CYCLES)
    yield made
    made.close()


def test_this_is_the_version_that_was_asked_for():
    assert pynq.__version__ == os.environ["QBLIF_PYNQ_VERSION"]
    assert "qblif" not in pynq.__file__  # and not something of ours


def test_a_hundred_digits_are_bit_exact(board, device, bundle):
    rtl = np.load(CASE / "rtl.npy")
    assert len(rtl) >= 100
    with open_accelerator(bundle, "pynq", device=device, overlay=board.folder) as accelerator:
        logits = accelerator.run_batch(bundle.golden_inputs)
    assert np.array_equal(logits, rtl)
    assert np.array_equal(logits, bundle.golden_logits)


def test_the_overlay_loads_and_its_driver_is_bound(board, device, bundle):
    overlay = pynq.Overlay(str(board.folder / "qblif.bit"))
    driver = overlay.qblif_0
    assert type(driver).__name__ == "QblifDriver"
    assert overlay.is_loaded()
    assert int(driver.register_map.ID) == abi.MAGIC
    assert driver.register_map.CAPS.front_end == abi.FRONT_ENDS.index("dma")
    driver.register_map.SCRATCH = 0x1234_5678
    assert driver.read(0x1C) == 0x1234_5678
    with driver.open(bundle) as accelerator:
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:3]), bundle.golden_logits[:3])


def test_the_overlay_is_found_beside_the_bundle(board, device):
    with open_accelerator(CASE / "digits.qblif", "pynq", device=device):
        assert len(board.programmed) == 1


def test_the_clock_is_set_and_read_back(board, device, bundle):
    with open_accelerator(bundle, "pynq", device=device, overlay=board.folder, clock_mhz=50):
        assert board.clocks.frequency() == pytest.approx(50, rel=0.01)
        assert pynq.Clocks.fclk0_mhz == pytest.approx(50, rel=0.01)
    with pytest.raises(ClockError):
        open_accelerator(bundle, "pynq", device=device, overlay=board.folder, clock_mhz=250)


def test_memory_is_cached_so_that_flush_and_invalidate_count(board, device):
    with pynq.allocate((2048,), "u4") as buffer:
        at = buffer.device_address - board.dram.base
        memory = board.dram.memory[at:at + 8192].view(np.uint32)
        buffer[:] = 1
        assert not (memory == 1).any()
        buffer.flush()
        assert (memory == 1).all()
        memory[:] = 2
        assert (buffer == 1).all()
        buffer[1024:].invalidate()  # a slice knows its own place
        assert (buffer[1024:] == 2).all() and (buffer[:1024] == 1).all()
    assert board.dram.free_bytes == board.dram.size


def test_errors_of_the_bus_end_in_their_code_and_the_next_job_is_right(board, device, bundle):
    with open_accelerator(bundle, "pynq", device=device, overlay=board.folder) as accelerator:
        board.inject(Fault(writes=False, first=3, response=SLAVE_ERROR))
        with pytest.raises(DeviceError) as caught:
            accelerator.run_batch(bundle.golden_inputs[:8])
        assert caught.value.code == abi.Error.READ_SLAVE
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:8]), bundle.golden_logits[:8])


def test_a_killed_processs_job_is_stopped_before_the_board_is_programmed_again(board, device, bundle, monkeypatch):
    """A process that was killed: nothing of it runs any more, but its job does."""
    monkeypatch.setattr(jobs, "STOP_SECONDS", 60.0)  # of real time, on a busy machine
    killed = open_accelerator(bundle, "pynq", device=device, overlay=board.folder)
    board.inject(Fault(writes=False, data_wait=10 * CYCLES))
    frames, transport = bundle.input_layout.pack(bundle.golden_inputs[:8]), killed._transport
    transport._fill(0, frames.reshape(-1))
    transport._targets[0] = transport._sized(transport._targets, 0, len(frames) * bundle.classes)
    transport._start(KIND=0, SOURCE=transport._sources[0].address, TARGET=transport._targets[0].address,
                     FRAMES=len(frames), IN_BEATS=frames.shape[1], OUT_BEATS=bundle.classes)
    assert board.logic.transferring
    with open_accelerator(bundle, "pynq", device=device, overlay=board.folder) as accelerator:
        assert len(board.programmed) == 2 and board.cut_off == 0
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:8]), bundle.golden_logits[:8])


def vivados_hwh():
    """A file of Vivado that pynq's parser brings along, with its one accelerator made ours, as Vivado describes it."""
    root = ET.parse(pathlib.Path(pynqmetadata.__file__).parent / "tests" / "hwhs" / "resizer.hwh").getroot()
    ours = root.find("./MODULES/MODULE[@INSTANCE='resize_accel_0']")
    ours.set("VLNV", f"xilinx.com:module_ref:{hwh.MODULE}:1.0")
    ours.set("MODTYPE", hwh.MODULE)
    ours.find("BUSINTERFACES/BUSINTERFACE[@NAME='s_axi_AXILiteS']").set("NAME", "s_axi")
    ours.find("ADDRESSBLOCKS/ADDRESSBLOCK").attrib.update(INTERFACE="s_axi", NAME="reg0")
    for place in root.findall("./MODULES/MODULE/MEMORYMAP/MEMRANGE[@INSTANCE='resize_accel_0']"):
        place.attrib.update(SLAVEBUSINTERFACE="s_axi", ADDRESSBLOCK="reg0")
    return ET.tostring(root, encoding="unicode")


def test_the_file_that_vivado_writes_is_completed_and_loads(zynq, bundle, tmp_path):
    device = install(zynq)
    (tmp_path / "qblif.bit").write_bytes((CASE / "digits.pynq-z2" / "qblif.bit").read_bytes())
    (tmp_path / "qblif.hwh").write_text(hwh.patch_hwh(vivados_hwh(), 100, bundle.build_hash))
    overlays.write_manifest(tmp_path / "qblif.bit", "pynq-z2", bundle.build_hash, 100.0, {})
    with open_accelerator(bundle, "pynq", device=device, overlay=tmp_path) as accelerator:
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:3]), bundle.golden_logits[:3])
    overlay = pynq.Overlay(str(tmp_path / "qblif.bit"))
    assert {"axi_dma_0", "resize_accel_0"} <= set(overlay.ip_dict)  # what else Vivado described is still there
    assert type(overlay.resize_accel_0).__name__ == "QblifDriver"
    assert int(overlay.resize_accel_0.register_map.ID) == abi.MAGIC


def test_overlays_of_another_build_or_part_are_refused_before_programming(zynq, bundle):
    device = install(zynq)
    for folder, kind, names in (("other.pynq-z2", BuildMismatch, "digits.pynq-z2"), ("digits.kv260", PartMismatch,
                                                                                         "digits.pynq-z2")):
        with pytest.raises(kind, match=names):
            open_accelerator(bundle, "pynq", device=device, overlay=CASE / folder)
    assert not zynq.programmed


def test_a_stale_bitstream_is_refused(zynq, bundle):
    device = install(zynq)
    pynq.Overlay(str(CASE / "other.pynq-z2" / "qblif.bit"))
    with pytest.raises(BuildMismatch, match="download=True"):
        open_accelerator(bundle, "pynq", device=device, overlay=CASE / "digits.pynq-z2", download=False)
    with open_accelerator(bundle, "pynq", device=device, overlay=CASE / "digits.pynq-z2") as accelerator:
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:2]), bundle.golden_logits[:2])


def test_a_bitstream_that_was_altered_is_refused(zynq, bundle, tmp_path):
    device = install(zynq)
    for name in ("qblif.bit", "qblif.hwh", "manifest.json"):
        (tmp_path / name).write_bytes((CASE / "digits.pynq-z2" / name).read_bytes())
    bit = bytearray((tmp_path / "qblif.bit").read_bytes())
    bit[-1] ^= 1
    (tmp_path / "qblif.bit").write_bytes(bit)
    with pytest.raises(OverlayError, match="altered"):
        open_accelerator(bundle, "pynq", device=device, overlay=tmp_path)
    assert not zynq.programmed


def test_a_board_without_memory_says_so(zynq, bundle):
    device = install(zynq)
    taken = zynq.dram.allocate(zynq.dram.size)
    with pytest.raises(OutOfBoardMemory, match="contiguous"):
        open_accelerator(bundle, "pynq", device=device, overlay=CASE / "digits.pynq-z2")
    zynq.dram.free(taken)
    with open_accelerator(bundle, "pynq", device=device, overlay=CASE / "digits.pynq-z2") as accelerator:
        assert np.array_equal(accelerator.run_batch(bundle.golden_inputs[:2]), bundle.golden_logits[:2])
    assert zynq.dram.free_bytes == zynq.dram.size


def test_the_case_is_what_it_says(bundle):
    assert len(bundle.golden_logits) >= 100
    assert json.loads((CASE / "digits.pynq-z2" / "manifest.json").read_text())["board"] == "pynq-z2"
