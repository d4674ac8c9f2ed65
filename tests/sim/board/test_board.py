"""A virtual board: its address map, what bitstreams do, and time that passes by accesses alone."""

import hashlib

import numpy as np
import pytest

from qblif import cli
from qblif.host import abi, bitfile, hwh, selftest
from qblif.host import open as open_accelerator
from qblif.host.errors import UnknownTarget
from qblif.host.overlays import Overlay
from qblif.host.registers import OFFSETS
from qblif.hw.params import DesignParams
from qblif.sim.board import build
from qblif.sim.board.board import KINDS, Board, load_designs
from qblif.sim.board.faults import NEVER, Fault
from qblif.sim.board.overlay import DESIGNS, make_overlay
from qblif.sim.board.rtl import BusError

from . import tiny


def test_golden_vectors_are_reproduced_on_every_kind_of_board():
    for kind in KINDS:
        with tiny.opened(tiny.board(kind)) as accelerator:
            assert accelerator.self_test() == tiny.IMAGES


@pytest.mark.parametrize(("kind", "bits"), [("pynq-z2", 32), ("kv260", 40)])
def test_memory_addresses_are_as_wide_as_on_the_real_board(kind, bits):
    text = build.emitted(DesignParams.from_dict(tiny.bundle().design), KINDS[kind].address_bits)
    for name in ("m_axi_araddr", "m_axi_awaddr"):
        assert f"[{bits - 1}:0] {name}" in text


def test_the_self_test_passes_on_a_virtual_board(capsys, monkeypatch):
    monkeypatch.setattr(selftest, "SPEED_SECONDS", 0.2)
    assert cli.main(["selftest", str(tiny.bundle().path), "--target", "board"]) == 0
    told = capsys.readouterr().out
    for part in ("virtual", "shared memory", f"{tiny.IMAGES} images, every logit equal", "result: passed"):
        assert part in told


def test_the_target_board_builds_what_it_needs():
    with open_accelerator(tiny.bundle(), "board:zcu104") as accelerator:
        assert accelerator.self_test() == tiny.IMAGES
    with pytest.raises(UnknownTarget, match="pynq-z2"):
        open_accelerator(tiny.bundle(), "board:breadboard")


def test_time_passes_by_accesses_alone():
    def run():
        board = tiny.board(cycles=700)
        with tiny.opened(board) as accelerator:
            before = board.logic.now
            board.read(board.registers + OFFSETS["ID"])
            assert board.logic.now == before + 700
            accelerator._transport._bus.write(OFFSETS["SCRATCH"], 1)
            assert board.logic.now == before + 1400
            accelerator.self_test()
            return accelerator._transport.jobs.cycles, accelerator.stats().images

    assert run() == run()


def test_a_host_that_forgets_the_cache_gets_nonsense():
    board = tiny.board()
    with tiny.opened(board) as accelerator:
        board.dram.invalidate = lambda *_: None
        assert not np.array_equal(accelerator.run_batch(tiny.bundle().golden_inputs), tiny.bundle().golden_logits)


def test_addresses_of_nothing_are_bus_errors():
    board = tiny.board()
    first = board.registers
    for address in (0, first - 4, first + 2, first + 0x1_0000, board.clocks.BASE + 0x1000):
        with pytest.raises(BusError):
            board.read(address)
    assert board.read(board.registers + 0x1000 + OFFSETS["ID"]) == abi.MAGIC  # registers repeat, as in hardware
    blank = tiny.board(program=False)
    with pytest.raises(BusError, match="not programmed"):
        blank.read(blank.registers)
    with pytest.raises(ValueError, match="no accelerator"):
        blank.inject(Fault())


def test_a_bitstream_is_known_by_its_data_in_the_order_of_both_file_formats():
    data = b"abcdefgh"
    board = Board("pynq-z2", {hashlib.sha256(data).hexdigest(): tiny.board().designs.popitem()[1]})
    for payload in (data, b"dcbahgfe"):
        board.program(payload)
        assert board.read(board.registers + OFFSETS["ID"]) == abi.MAGIC
    board.program(b"abcdefgx")
    assert board.read(board.registers + OFFSETS["ID"]) == 0
    board.write(board.registers + OFFSETS["SCRATCH"], 5)
    assert board.read(board.registers + OFFSETS["SCRATCH"]) == 0


@pytest.mark.parametrize(("kind", "register"), [("pynq-z2", 0x170), ("kv260", 0xC0)])
def test_the_clock_follows_its_registers(kind, register):
    board = tiny.board(kind, program=False)
    assert board.clocks.frequency() == pytest.approx(100, rel=1e-4)
    address = board.clocks.BASE + register
    board.write(address, board.read(address) & ~(0x3F << 8) | 20 << 8)
    assert board.clocks.frequency() == pytest.approx({"pynq-z2": 50, "kv260": 75}[kind], rel=1e-4)


def test_hardware_reads_what_is_not_memory_as_a_decode_error():
    board = tiny.board()

    def register(name, value=None):
        address = board.registers + OFFSETS[name]
        return board.read(address) if value is None else board.write(address, value)

    for name, value in (("JOB_KIND", 1), ("JOB_SOURCE_LO", 0x1000), ("JOB_FRAMES", 1), ("JOB_IN_BEATS", 64),
                        ("JOB_CONTROL", 1)):
        register(name, value)
    status = abi.unpack(abi.JOB_STATUS_FIELDS, register("JOB_STATUS"))
    assert (status["error"], register("JOB_ERROR_LO")) == (abi.Error.READ_DECODE, 0x1000)


def test_bursts_of_the_master_are_counted():
    board = tiny.board()
    with tiny.opened(board) as accelerator:
        before = board.logic.traffic
        accelerator.run_batch(tiny.bundle().golden_inputs)
        after = board.logic.traffic
    frames = tiny.bundle().input_layout.pack(tiny.bundle().golden_inputs)
    assert after.beats_read - before.beats_read == -(-frames.size // 2)
    assert after.beats_written - before.beats_written >= tiny.bundle().golden_logits.size // 2


@pytest.mark.parametrize("kind", ["pynq-z1", "kv260"])
def test_an_overlay_has_a_bitstream_that_the_board_knows(kind, tmp_path):
    overlay, designs = make_overlay(tiny.bundle(), tmp_path, kind)
    assert Overlay.load(tmp_path) == overlay
    assert load_designs(tmp_path / DESIGNS) == designs
    board = Board(kind, designs, 500)
    board.program(bitfile.read(overlay.bit).data)
    with tiny.opened(board) as accelerator:
        assert accelerator.self_test() == tiny.IMAGES
    assert f"0x{hwh.BASE_ADDRESS['zynq' if kind == 'pynq-z1' else 'zynqmp']:08X}" in overlay.hwh.read_text()


def test_overlays_of_different_description_have_different_bitstreams(tmp_path):
    """pynq keeps what it read of a .hwh under the hash of the .bit."""
    bits = {make_overlay(tiny.bundle(), tmp_path / str(mhz), "pynq-z2", clock_mhz=mhz)[0].bit.read_bytes()
            for mhz in (100, 50)}
    assert len(bits) == 2


def test_a_board_has_a_time_of_its_own_which_passes_by_cycles_at_its_clock():
    board = tiny.board(slow=True)
    assert board.clocks.frequency() * 1e6 == pytest.approx(tiny.SLOW_HZ)
    began, cycles = board.seconds(), board.logic.now
    board.read(board.registers + OFFSETS["ID"])
    assert board.seconds() - began == pytest.approx(500 / tiny.SLOW_HZ)
    board.sleep(0.02)
    assert (board.logic.now - cycles, board.seconds() - began) == (8500, pytest.approx(8500 / tiny.SLOW_HZ))
    before = board.seconds()
    board.program(b"another bitstream")  # and goes on, whatever is in the programmable logic
    board.sleep(0.5)
    assert board.seconds() - before == pytest.approx(0.5)


def test_a_board_counts_how_often_it_was_programmed_amid_transfers():
    board = tiny.board()
    with tiny.opened(board) as accelerator:
        accelerator.self_test()
    board.program(tiny.PAYLOAD)
    assert board.cut_off == 0
    board.inject(Fault(data_wait=NEVER))
    for name, value in (("JOB_KIND", 1), ("JOB_SOURCE_LO", board.dram.base), ("JOB_FRAMES", 1), ("JOB_IN_BEATS", 64),
                        ("JOB_CONTROL", 1)):
        board.write(board.registers + OFFSETS[name], value)
    board.program(tiny.PAYLOAD)
    assert board.cut_off == 1
