"""The PYNQ targets over a pynq that is not there: order of steps, what is refused, and which error tells what.

That the real pynq behaves like this one is shown by tests/pynq, with its releases and a virtual board."""

import hashlib
import json
import pathlib
import runpy
import sys
import types

import numpy as np
import pytest

import qblif
from qblif.host import (
    BuildMismatch,
    ClockError,
    OutOfBoardMemory,
    OverlayError,
    OverlayNotFound,
    PartMismatch,
    Timeout,
    ToolMissing,
    TransportError,
    UnknownTarget,
    bitfile,
    hwh,
    jobs,
    overlays,
    resident,
)
from qblif.host import pynq as target

from .fake_board import FakeBoard

BASE = 0x43C0_0000


class Clocks:
    """pynq.Clocks of a board whose clocks are a PLL's, divided by whole numbers."""

    def __init__(self, events, pll=1000.0):
        self.events, self.pll, self.divisor, self.device = events, pll, 20, None

    @property
    def fclk0_mhz(self):
        return round(self.pll / self.divisor, 6)

    @fclk0_mhz.setter
    def fclk0_mhz(self, mhz):
        self.events.append(f"clock {mhz:g}")
        self.divisor = min(range(1, 200), key=lambda n: abs(self.pll / n - mhz))

    def set_device(self, device):
        self.device = device


class Rpc(Exception):
    """What gRPC raises."""

    def __init__(self, name):
        self.name = name

    def code(self):
        return types.SimpleNamespace(name=self.name)

    def details(self):
        return "no route"


class FakeBuffer(np.ndarray):
    """pynq's buffer, over one of the fake board's."""

    def __new__(cls, inner):
        self = inner.array.view(cls)
        self.inner, self.device_address = inner, inner.address
        return self

    def __array_finalize__(self, other):
        self.inner = getattr(other, "inner", None)

    def flush(self):
        self.inner.flush()

    def invalidate(self):
        self.inner.invalidate()

    def freebuffer(self):
        self.inner.free()


class Device:
    """A pynq.Device that is a FakeBoard."""

    def __init__(self, name="Pynq-Z2", arch="armv7l", remote=False):
        self.name, self.arch, self.remote = name, arch, remote
        self.files, self.afi = {}, {}

    def has_capability(self, name):
        return self.remote and name == "REMOTE"

    def exists_file(self, path):
        return types.SimpleNamespace(exists=path in self.files)

    def read_file(self, path):
        return self.files[path]

    def write_file(self, path, data):
        self.files[path] = data


@pytest.fixture
def made(fakes, monkeypatch, tmp_path):
    """A pynq, a device, a board, an overlay for it, and `open`."""
    monkeypatch.delenv(overlays.VARIABLE, raising=False)
    monkeypatch.setattr(target, "_BOARD_NAME", "/nowhere")
    monkeypatch.setattr(target, "_FPGA_STATE", "/nowhere")
    monkeypatch.setattr(resident, "NOTE", str(tmp_path / "note.json"))
    made = types.SimpleNamespace(events=[], device=Device(), bundle=fakes.bundle, fail=None)
    made.board = FakeBoard(fakes.transport(fakes.bundle))

    def overlay(name, board="pynq-z2", build=fakes.bundle.build_hash, mhz=100.0):
        folder = tmp_path / "overlays" / name
        folder.mkdir(parents=True)
        text = hwh.hwh("zynq", mhz, build)
        (folder / "qblif.hwh").write_text(text)
        data = hashlib.sha256(text.encode() + name.encode()).digest()
        (folder / "qblif.bit").write_bytes(
            bitfile.Bitfile("qblif", overlays.BOARDS[board].part, "", "", data).to_bytes())
        return overlays.write_manifest(folder / "qblif.bit", board, build, mhz)
    made.overlay = overlay

    class MMIO:
        def __init__(self, base, length, device):
            self.base_addr, self.length, self.device = base, length, device

        def read(self, offset=0):
            if self.base_addr >= 0xF800_0000:
                if device_of(self).afi is None:
                    raise LookupError("nothing there")
                return device_of(self).afi.get(self.base_addr, 0)
            made.events.append("read")
            if made.fail:
                raise made.fail
            return np.uint32(made.board.read(offset))

        def write(self, offset, value):
            assert type(value) is int
            if self.base_addr >= 0xF800_0000:
                device_of(self).afi[self.base_addr] = value
                return
            if made.fail:
                raise made.fail
            made.board.write(offset, value)

    def device_of(mmio):
        assert mmio.device is made.device
        return mmio.device

    class Overlay:
        def __init__(self, path, download=True, device=made.device):
            assert device is made.device
            self.bitfile_name = device.bitfile_name = path
            self.qblif_0 = target.QblifDriver()
            self.qblif_0.device, self.qblif_0.mmio = device, MMIO(BASE, 0x10000, device)
            self.qblif_0.register_map = "RegisterMap"
            self.ip_dict = {"qblif_0": {"type": hwh.VLNV, "phys_addr": BASE, "addr_range": 0x10000}}
            self.clock_dict = {0: {"enable": 1, "frequency": None}, 1: {"enable": 0}}
            self.parser = types.SimpleNamespace(bin_data=bitfile.read(path).data)
            self.binfile_name = ""

        def download(self):
            assert self.clock_dict[0]["frequency"] == 100.0
            made.events.append(f"program {self.binfile_name or self.bitfile_name}")
            if made.board.busy:
                made.board.violations.append("programmed while busy")

    def allocate(shape, dtype, target):
        assert (dtype, target) == ("u4", made.device)
        if made.fail:
            raise made.fail
        return FakeBuffer(made.board.allocate(*shape))

    made.pynq = types.SimpleNamespace(Clocks=Clocks(made.events), MMIO=MMIO, Overlay=Overlay, allocate=allocate,
                                      __version__="4.0.0", Device=types.SimpleNamespace(active_device=made.device))
    monkeypatch.setattr(target, "pynq", made.pynq)

    def open_it(where="pynq", **options):
        return qblif.open(fakes.bundle, where, timeout=30, **options)
    made.open = open_it
    return made


def expected(fakes, x):
    return fakes.logits(fakes.bundle.input_layout.pack(x))


# --- opening --------------------------------------------------------------------------------------------------

def test_opening_programs_then_sets_the_clock_then_reads_the_first_register(made, fakes):
    overlay = made.overlay("z2")
    x = fakes.bundle.golden_inputs
    with made.open(overlay=overlay.folder) as acc:
        assert made.events[:3] == [f"program {overlay.bit}", "clock 100", "read"]
        assert made.pynq.Clocks.device is made.device
        assert np.array_equal(acc.run_batch(x), expected(fakes, x)) and acc.self_test() == 4
        assert str(acc.stats().clock) == "100 MHz (set and read back)"
    assert made.board.alive == [] and made.board.violations == []


def test_the_overlay_is_found_by_board_and_build(made, fakes, monkeypatch):
    made.overlay("other", build=7)
    wanted = made.overlay("right")
    monkeypatch.setenv(overlays.VARIABLE, str(wanted.folder.parent))
    with made.open():
        assert made.events[0] == f"program {wanted.bit}"


def test_without_an_overlay_that_fits_nothing_is_programmed(made, monkeypatch):
    other = made.overlay("other", build=7)
    monkeypatch.setenv(overlays.VARIABLE, str(other.folder.parent))
    with pytest.raises(OverlayNotFound, match="no overlay for pynq-z2 has build"):
        made.open()
    assert made.events == []


def test_an_overlay_of_another_build_is_refused_with_the_one_that_fits(made, monkeypatch):
    other, right = made.overlay("other", build=7), made.overlay("right")
    with pytest.raises(BuildMismatch, match="make bitstream BOARD=pynq-z2"):
        made.open(overlay=other.folder)
    monkeypatch.setenv(overlays.VARIABLE, str(right.folder.parent))
    with pytest.raises(BuildMismatch) as caught:
        made.open(overlay=other.bit)
    assert f"the overlay that fits is {right}" in str(caught.value) and made.events == []


def test_a_damaged_overlay_and_one_for_another_chip_are_refused_before_programming(made):
    overlay = made.overlay("z2")
    with open(overlay.bit, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(OverlayError, match="qblif.bit was altered"):
        made.open(overlay=overlay.bit)
    with pytest.raises(PartMismatch, match="this board, pynq-z2, has xc7z020"):
        made.open(overlay=made.overlay("zu", "zcu104").folder)
    assert made.events == []


def test_an_overlay_for_another_chip_is_refused_with_the_one_that_fits(made, monkeypatch):
    other = made.overlay("zu", "zcu104")
    with pytest.raises(PartMismatch, match="hint: nothing was programmed; no overlay for pynq-z2 "):
        made.open(overlay=other.folder)
    right = made.overlay("right")
    monkeypatch.setenv(overlays.VARIABLE, str(right.folder.parent))
    with pytest.raises(PartMismatch) as caught:
        made.open(overlay=other.folder)
    assert f"hint: nothing was programmed; the overlay that fits is {right}" in str(caught.value)
    with pytest.raises(PartMismatch) as caught:
        made.pynq.Overlay(str(other.bit)).qblif_0.open(made.bundle)
    assert f"hint: the overlay that fits is {right}" in str(caught.value)


def test_a_board_that_kept_another_bitstream_is_noticed(made):
    overlay = made.overlay("z2")
    made.board.accelerator.overrides["BUILD_LO"] = 5
    with pytest.raises(BuildMismatch, match="after programming .* the board shows build .*00000005"):
        made.open(overlay=overlay.folder)
    made.board.accelerator.overrides.update(ID=0)
    with pytest.raises(BuildMismatch, match="shows no accelerator .register ID is 0x00000000"):
        made.open(overlay=overlay.folder)
    with pytest.raises(BuildMismatch, match="without programming"):
        made.open(overlay=overlay.folder, download=False)


def test_attaching_to_logic_that_is_not_programmed_touches_no_register(made, tmp_path, monkeypatch):
    overlay = made.overlay("z2")
    state = tmp_path / "state"
    state.write_text("unknown\n")
    monkeypatch.setattr(target, "_FPGA_STATE", str(state))
    with pytest.raises(TransportError, match="in the state 'unknown', not operating"):
        made.open(overlay=overlay.folder, download=False)
    assert made.events == []
    state.write_text("operating\n")
    with made.open(overlay=overlay.folder, download=False):
        assert not any(event.startswith("program") for event in made.events)


@pytest.mark.parametrize("where", ["pynq:", "pynq://", "pynq://a/b", "pynq://a:99999", "pynq://a:b", "pynq://a b"])
def test_targets_that_are_none_are_refused(made, where):
    with pytest.raises(UnknownTarget, match="is not one of pynq, pynq://host"):
        made.open(where)


def test_a_device_of_ones_own_takes_the_target_pynq(made):
    overlay = made.overlay("z2")
    with made.open(overlay=overlay.folder, device=made.device) as acc:
        assert acc.self_test() == 4
    with pytest.raises(UnknownTarget, match="name two boards"):
        made.open("pynq://a", device=made.device)


def test_where_pynq_is_missing_it_is_said_how_to_get_it(made, monkeypatch):
    monkeypatch.setattr(target, "pynq", None)
    monkeypatch.setattr(target, "_missing", ImportError("No module named 'pynq'"), raising=False)
    with pytest.raises(ToolMissing, match="needs pynq: No module named 'pynq'\n.*PYNQ image.*pynq://HOST.*board"):
        made.open()
    with pytest.raises(ToolMissing, match="needs pynq: .*\n.*PYNQ_REMOTE=1 pip install pynq .Python 3.10 to 3.12"):
        made.open("pynq://192.168.2.99")


def test_a_machine_without_a_board_says_what_to_do(made):
    class NoDevice:
        @property
        def active_device(self):
            raise RuntimeError("No Devices Found")
    made.pynq.Device = NoDevice()
    with pytest.raises(TransportError, match="finds no board on this machine: No Devices Found\n.*pynq://host"):
        made.open()


# --- what a killed process left -------------------------------------------------------------------------------

def killed_in_mid_job(made, overlay, fault="hang"):
    """Let a process open the overlay, start a job that does not end, and die."""
    made.open(overlay=overlay.folder)
    made.board.regs["JOB_FRAMES"] = 1000
    made.board._start()
    made.board.fault = fault
    del made.events[:]


@pytest.mark.parametrize("remote", [False, True])
def test_the_job_of_a_killed_process_is_stopped_before_the_board_is_programmed(made, fakes, monkeypatch, remote):
    made.device.remote = remote
    monkeypatch.setattr(target, "_set_deadlines", lambda device, seconds: None)
    overlay = made.overlay("z2")
    killed_in_mid_job(made, overlay)
    with made.open(overlay=overlay.folder) as acc:
        assert np.array_equal(acc.run_batch(fakes.bundle.golden_inputs), expected(fakes, fakes.bundle.golden_inputs))
    assert made.board.violations == []
    (programmed,) = [at for at, event in enumerate(made.events) if event.startswith("program")]
    assert "read" in made.events[:programmed]


def test_a_job_on_an_overlay_that_pynq_loaded_is_stopped_too(made, fakes):
    overlay = made.overlay("z2")
    made.pynq.Overlay(str(overlay.bit)).qblif_0.open(fakes.bundle)
    made.board._start()
    made.board.fault = "hang"
    made.open(overlay=overlay.folder)
    assert made.board.violations == []


def test_a_job_that_does_not_stop_is_told_and_the_board_programmed_all_the_same(made, monkeypatch):
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.01)
    overlay = made.overlay("z2")
    killed_in_mid_job(made, overlay, "stuck")
    told = "could not be stopped: transfers .* are still under way .* switch the board off and on"
    with pytest.warns(RuntimeWarning, match=told), pytest.raises(Timeout):
        made.open(overlay=overlay.folder)
    assert f"program {overlay.bit}" in made.events and made.board.violations == ["programmed while busy"]


@pytest.mark.parametrize("why", ["not operating", "another bitstream", "no note", "half a note", "another build"])
def test_no_register_is_read_of_logic_that_is_not_known_to_be_ours(made, monkeypatch, tmp_path, why):
    overlay = made.overlay("z2")
    made.open(overlay=overlay.folder).close()
    del made.events[:]
    note, state = pathlib.Path(resident.NOTE), tmp_path / "state"
    if why == "not operating":
        state.write_text("unknown\n")
        monkeypatch.setattr(target, "_FPGA_STATE", str(state))
    elif why == "another bitstream":
        monkeypatch.setattr(target, "_last_programmed", lambda device: "/home/xilinx/base.bit")
    elif why == "no note":
        note.unlink()
    elif why == "half a note":
        note.write_text(note.read_text()[:20])
    else:  # it is read what it is, and nothing is written
        note.write_text(note.read_text().replace('"build": "', '"build": "f'))
        made.board.write = lambda offset, value: pytest.fail(f"{offset:#x} was written")
        made.pynq.Overlay.download = lambda self: made.events.append("program") or _stop()
        with pytest.raises(Programmed):
            made.open(overlay=overlay.folder)
        return
    made.open(overlay=overlay.folder).close()
    assert made.events[0] == f"program {overlay.bit}"


class Programmed(Exception):
    """The board would be programmed now."""


def _stop():
    raise Programmed


def test_while_the_board_is_programmed_there_is_no_note(made):
    overlay = made.overlay("z2")
    made.open(overlay=overlay.folder).close()
    assert resident.find(made.device) == resident.Resident(str(overlay.bit), BASE, 0x10000,
                                                           f"{overlay.build_hash:016x}")
    made.pynq.Overlay.download = lambda self: _stop()
    with pytest.raises(Programmed):
        made.open(overlay=overlay.folder)
    assert resident.find(made.device) is None


# --- clock ----------------------------------------------------------------------------------------------------

def test_a_clock_beyond_the_overlays_is_refused_before_programming(made):
    overlay = made.overlay("z2")
    for mhz in (101, 100.2, 0, -5, float("nan"), "fast"):
        with pytest.raises(ClockError, match="was built for up to 100 MHz"):
            made.open(overlay=overlay.folder, clock_mhz=mhz)
    assert made.events == []


def test_a_clock_that_the_board_cannot_make_is_an_error_with_what_it_makes(made):
    overlay = made.overlay("z2")
    with pytest.raises(ClockError, match="a clock of 88 MHz was asked for, the board makes 90.9091 MHz of it"):
        made.open(overlay=overlay.folder, clock_mhz=88)
    with made.open(overlay=overlay.folder, clock_mhz=83.3) as acc:
        assert acc.stats().clock.hz == pytest.approx(83.33e6, rel=1e-3)


def test_a_clock_that_the_board_makes_faster_than_the_overlay_was_built_for_is_an_error(made):
    made.pynq.Clocks.pll = 1005.0
    with pytest.raises(ClockError, match="a clock of 100 MHz was asked for, the board makes 100.5 MHz of it"):
        made.open(overlay=made.overlay("z2").folder, clock_mhz=100)


@pytest.mark.parametrize("pll", [1000.0, 1000.9, 1005.0, 1600.0, 999.99, 533.33, 866.67])
def test_without_a_wish_it_is_the_fastest_clock_that_board_and_overlay_can_do(made, pll):
    overlay = made.overlay("z2")
    made.pynq.Clocks.pll = pll
    with made.open(overlay=overlay.folder) as acc:
        hz = acc.stats().clock.hz
    divisor = next(n for n in range(1, 100) if pll / n <= 100.1)
    assert hz == pytest.approx(1e6 * pll / divisor, rel=1e-5)


# --- Zynq-7000's memory ports ---------------------------------------------------------------------------------

def test_memory_ports_that_were_made_narrow_are_widened(made):
    made.device.afi = {0xF800_8000: 0xF01, 0xF800_A014: 1, 0xF800_B014: 0x100}
    with made.open(overlay=made.overlay("z2").folder) as acc:
        assert acc._transport.about["memory ports"] == "64 bits"
    assert made.device.afi == {0xF800_8000: 0xF00, 0xF800_A014: 0, 0xF800_B014: 0x100}


def test_where_the_ports_cannot_be_reached_it_is_said_and_goes_on(made):
    made.device.afi = None
    with made.open(overlay=made.overlay("z2").folder) as acc:
        assert acc._transport.about["memory ports"] == "not looked at: nothing there" and acc.self_test() == 4


# --- from afar ------------------------------------------------------------------------------------------------

def test_a_remote_board_gets_each_bitstream_under_a_name_of_its_own_once_and_whole(made, monkeypatch):
    made.device.remote = True
    monkeypatch.setattr(target, "_set_deadlines", lambda device, seconds: None)
    overlay = made.overlay("z2")
    data = bitfile.read(overlay.bit).data
    name = f"qblif-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path = f"/lib/firmware/{name}"
    made.device.files[path] = data[:5]  # an upload that was cut off
    with made.open(overlay=overlay.folder) as acc:
        assert made.device.files[path] == data and f"program {name}" in made.events
        assert acc._transport.about["memory ports"] == "not looked at from afar"
    uploads = []
    monkeypatch.setattr(made.device, "write_file", lambda path, data: uploads.append(path))
    made.open(overlay=overlay.folder).close()
    assert set(uploads) == {resident.NOTE}  # and no bitstream


def test_the_connection_to_a_remote_board_is_closed_with_the_accelerator_and_when_opening_fails(made, monkeypatch):
    closed = []
    channel = types.SimpleNamespace(close=lambda: closed.append(1))
    made.device.remote, made.device.client = True, types.SimpleNamespace(channel=channel)
    monkeypatch.setattr(target, "_device", lambda where, timeout: made.device)
    overlay = made.overlay("z2")
    with made.open("pynq://board", overlay=overlay.folder) as acc:
        assert acc.self_test() == 4 and closed == []
    assert closed == [1]
    with pytest.raises(ClockError):
        made.open("pynq://board", overlay=overlay.folder, clock_mhz=500)
    assert closed == [1, 1]


@pytest.mark.parametrize("raised, kind, words", [
    (Rpc("UNAVAILABLE"), TransportError,
     r"could not read register 0x0: UNAVAILABLE: no route\n.*port 7967 if not given\)\? .*: qblif board BUNDLE"),
    (Rpc("DEADLINE_EXCEEDED"), Timeout, "the board did not answer in time"),
    (RuntimeError("bus error"), TransportError, "RuntimeError: bus error"),
    (OSError("gone"), TransportError, "OSError: gone"),
    (PermissionError(13, "Permission denied"), TransportError, "Permission denied"),
])
def test_what_pynq_and_grpc_raise_becomes_an_error_of_ours(made, raised, kind, words):
    overlay = made.overlay("z2")
    made.fail = raised
    with pytest.raises(kind, match=words):
        made.open(overlay=overlay.folder)


@pytest.mark.parametrize("prepare", [
    lambda made, patch: patch.setattr(made.pynq, "allocate", _raise(MemoryError("CMA"))),
    lambda made, patch: patch.setattr(made.pynq, "allocate", lambda *_, **__: types.SimpleNamespace(buffer_id="",
                                                                                                    nbytes=1)),
])
def test_a_board_without_memory_says_so(made, monkeypatch, prepare):
    prepare(made, monkeypatch)
    with pytest.raises(OutOfBoardMemory):
        made.open(overlay=made.overlay("z2").folder)


def _raise(error):
    def function(*_, **__):
        raise error
    return function


def test_mistakes_of_programming_are_not_hidden(made):
    overlay = made.overlay("z2")
    made.fail = TypeError("a bug")
    with pytest.raises(TypeError, match="a bug"):
        made.open(overlay=overlay.folder)


# --- pynq's own way -------------------------------------------------------------------------------------------

def test_the_driver_opens_a_network_on_the_overlay_that_is_loaded(made, fakes):
    overlay = made.overlay("z2")
    driver = made.pynq.Overlay(str(overlay.bit)).qblif_0
    assert driver.bindto == [hwh.VLNV]
    with driver.open(fakes.bundle.path, timeout=30) as acc:
        assert acc.self_test() == 4 and str(acc.stats().clock) == "100 MHz (set and read back)"
        assert acc._transport.about["overlay"] == str(overlay)
    with driver.open(fakes.bundle, clock_mhz=50) as acc:
        assert str(acc.stats().clock) == "50 MHz (set and read back)"
    assert made.board.alive == []


def test_the_driver_makes_a_clock_slower_that_somebody_left_too_fast_and_refuses_one(made, fakes):
    driver = made.pynq.Overlay(str(made.overlay("z2").bit)).qblif_0
    made.pynq.Clocks.divisor = 4  # 250 MHz
    with driver.open(fakes.bundle) as acc:
        assert acc.stats().clock.hz == 100e6
    with pytest.raises(ClockError, match="a clock of 250 MHz was asked for; .* was built for up to 100 MHz"):
        driver.open(fakes.bundle, clock_mhz=250)
    assert made.pynq.Clocks.fclk0_mhz == 100


def test_the_driver_refuses_an_overlay_of_another_build_part_or_content(made, fakes, monkeypatch):
    right, other = made.overlay("right"), made.overlay("other", build=7)
    monkeypatch.setenv(overlays.VARIABLE, str(right.folder.parent))
    with pytest.raises(BuildMismatch) as caught:
        made.pynq.Overlay(str(other.bit)).qblif_0.open(fakes.bundle)
    assert f"the overlay that fits is {right}" in str(caught.value)
    with pytest.raises(PartMismatch, match="this board, pynq-z2, has xc7z020"):
        made.pynq.Overlay(str(made.overlay("zu", "zcu104").bit)).qblif_0.open(fakes.bundle)
    driver = made.pynq.Overlay(str(right.bit)).qblif_0
    right.hwh.write_text("<EDKSYSTEM/>")
    with pytest.raises(OverlayError, match="qblif.hwh was altered"):
        driver.open(fakes.bundle)
    assert "read" not in made.events and not any(event.startswith("clock") for event in made.events)


@pytest.mark.parametrize("mhz, shown", [(None, "50 MHz (read back)"), (100, "100 MHz (set and read back)")])
def test_the_driver_warns_where_no_manifest_tells_the_limit_of_the_clock(made, fakes, mhz, shown):
    overlay = made.overlay("z2")
    (overlay.folder / overlays.MANIFEST).unlink()
    driver = made.pynq.Overlay(str(overlay.bit)).qblif_0
    with pytest.warns(RuntimeWarning, match="part are right for .*qblif.bit is not known, .* manifest.json cannot"):
        acc = driver.open(fakes.bundle, clock_mhz=mhz)
    with acc:
        assert acc.self_test() == 4 and str(acc.stats().clock) == shown
        assert acc._transport.about["overlay"].startswith("without a manifest")


# --- the notebook ---------------------------------------------------------------------------------------------

NOTEBOOK = pathlib.Path(target.__file__).parent / "notebooks" / "getting_started.ipynb"


def test_the_notebook_is_valid_and_comes_without_results():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) > 10
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("code", "markdown") and isinstance(cell["source"], list) and cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_every_cell_of_the_notebook_runs(made, fakes, monkeypatch, tmp_path, capsys):
    from qblif.host import selftest
    monkeypatch.setattr(selftest, "SPEED_SECONDS", 0.05)
    for name in ("QBLIF_BUNDLE", "QBLIF_TARGET", "QBLIF_OVERLAY"):
        monkeypatch.delenv(name, raising=False)
    overlay = made.overlay("z2")
    (tmp_path / "digits.qblif").write_bytes(fakes.bundle.path.read_bytes())
    monkeypatch.setenv(overlays.VARIABLE, str(overlay.folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pynq", made.pynq)
    cells = [cell["source"] for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
             if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join("".join(cell) for cell in cells), encoding="utf-8")
    left = runpy.run_path(str(script))
    told = capsys.readouterr().out
    assert left["passed"] and "result: passed" in told and "equal to the golden model: True" in told
    assert "JOB_STATUS" in told and "end to end: " in told and "RegisterMap" in told
    assert "4 golden vectors: all logits equal" in told and made.board.alive == []
