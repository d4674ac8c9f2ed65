"""Run inside an environment of pynq, by test_versions.py: a virtual board in another process, through PYNQ.remote."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pynq
import pytest
from pynq.pl_server.embedded_device import bit2bin
from pynq.pl_server.remote_device import RemoteDevice

from qblif.host import abi, jobs
from qblif.host import open as open_accelerator
from qblif.host.bundle import Bundle
from qblif.host.errors import BuildMismatch, DeviceError, PartMismatch, Timeout, TransportError

CASE = pathlib.Path(os.environ["QBLIF_PYNQ_CASE"])
OVERLAY = CASE / "digits.pynq-z2"
RPC = 2.0
"""Seconds that a call may take in these tests."""

PATIENCE = 60.0
"""Seconds to wait for a moment in mid-job."""

# By its path: pynq installs a package `tests`, which is not ours
_spec = importlib.util.spec_from_file_location(
    "faults_table", pathlib.Path(__file__).resolve().parents[1] / "sim" / "board" / "faults_table.py")
faults_table = importlib.util.module_from_spec(_spec)
sys.modules["faults_table"] = faults_table
_spec.loader.exec_module(faults_table)


class Served:
    """serve.py in a process of its own."""

    def __init__(self, address: str = "127.0.0.1"):
        self.process = subprocess.Popen([*json.loads(os.environ["QBLIF_PYNQ_SERVE"]), str(CASE), address], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = self.process.stdout.readline().strip()

    @property
    def target(self) -> str:
        return f"pynq://{self.address}"

    def order(self, text: str) -> str:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def transferring(self) -> bool:
        """Whether transfers are under way. The board's time passes with accesses only: without a host it stays so."""
        return self.order("transferring") == "true"

    def wait_for_transfers(self):
        """Return once transfers of a host's jobs were under way; slows the memory down so that they mostly are."""
        assert self.order('fault {"writes": false, "count": 1000000, "data_wait": 50000}') == "done"
        deadline = time.monotonic() + PATIENCE
        while not self.transferring():
            assert time.monotonic() < deadline, "no transfer was ever under way"
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def served():
    made = Served()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bundle():
    return Bundle.load(CASE / "digits.qblif")


def opened(bundle, served, timeout=60.0):
    return open_accelerator(bundle, served.target, overlay=OVERLAY, timeout=timeout, rpc_timeout=RPC)


def right(accelerator, images=4) -> bool:
    bundle = accelerator.bundle
    return np.array_equal(accelerator.run_batch(bundle.golden_inputs[:images]), bundle.golden_logits[:images])


def record(name, how, made, within, bound, kind=None, after="right"):
    """Check what came of a fault, and its row in docs/faults.md."""
    assert made.seconds < bound, f"{made.seconds:.2f} s"
    assert type(made.error) is (kind or type(None)), repr(made.error)
    faults_table.check(faults_table.row(name, how, made.error, within, after))


def test_a_hundred_digits_are_bit_exact(served, bundle):
    rtl = np.load(CASE / "rtl.npy")
    assert len(rtl) >= 100
    with opened(bundle, served) as accelerator:
        logits = accelerator.run_batch(bundle.golden_inputs)
    assert np.array_equal(logits, rtl)
    assert np.array_equal(logits, bundle.golden_logits)


def test_the_overlay_loads_and_its_driver_is_bound(served, bundle):
    host, port = served.address.split(":")
    device = RemoteDevice(0, host, int(port))
    pynq.Device.active_device = device
    if "_real_instance" in vars(pynq.Clocks):
        del pynq.Clocks._real_instance  # of the board of an earlier test: pynq never asks for another one
    overlay = pynq.Overlay(str(OVERLAY / "qblif.bit"), device=device)
    assert type(overlay.qblif_0).__name__ == "QblifDriver"
    assert int(overlay.qblif_0.register_map.ID) == abi.MAGIC
    with overlay.qblif_0.open(bundle) as accelerator:
        assert right(accelerator)


def test_a_notebook_finds_the_board_by_the_environment(bundle, tmp_path):
    """As in a notebook: PYNQ_REMOTE_DEVICES, then pynq as if on the board. A socket file: pynq's port may be taken."""
    served = Served(f"unix:{tmp_path}/board:7967")
    code = f"""
import pynq
overlay = pynq.Overlay({str(OVERLAY / "qblif.bit")!r})
with overlay.qblif_0.open({str(CASE / "digits.qblif")!r}) as accelerator:
    logits = accelerator.run_batch(accelerator.bundle.golden_inputs[:3])
    assert (logits == accelerator.bundle.golden_logits[:3]).all()
print(overlay.device.name)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYNQ_REMOTE_DEVICES": f"unix:{tmp_path}/board"}, timeout=120)
    served.close()
    assert done.stdout.strip() == "Pynq-Z2", done.stderr[-3000:]


def test_errors_of_the_bus_end_in_their_code_and_the_next_job_is_right(served, bundle):
    with opened(bundle, served) as accelerator:
        assert served.order('fault {"reads": false, "response": 2}') == "done"
        with pytest.raises(DeviceError) as caught:
            right(accelerator)
        assert caught.value.code == abi.Error.WRITE_SLAVE
        assert right(accelerator)


def test_a_killed_server(served, bundle):
    killed = []

    def kill():
        served.wait_for_transfers()
        killed.append(time.monotonic())
        served.kill()

    accelerator = opened(bundle, served)
    assert right(accelerator)
    killer = threading.Thread(target=kill)
    began = time.monotonic()
    with faults_table.attempt() as made:
        killer.start()
        while time.monotonic() < began + PATIENCE:
            right(accelerator, 120)
    killer.join()
    with contextlib.suppress(Exception):
        accelerator.close()
    again = Served()
    with opened(bundle, again) as accelerator:
        assert right(accelerator)
    again.close()
    made.seconds -= killed[0] - began
    assert "UNAVAILABLE" in made.error.message
    made.error.message = "could not …: UNAVAILABLE …"  # what it was doing then differs from run to run
    record("PYNQ.remote's server is killed in mid-job", "the process gets SIGKILL", made, "R + 3 S",
           RPC + 3 * jobs.STOP_SECONDS, TransportError, "right, on a new server")


def test_a_server_that_does_not_answer(served, bundle):
    with opened(bundle, served) as accelerator:
        assert right(accelerator)
        served.order("delay 30")
        with faults_table.attempt() as made:
            right(accelerator)
        served.order("delay 0")
        assert right(accelerator)
    record("PYNQ.remote's server does not answer", "every answer is 30 s late", made, "5 R", 5 * RPC, Timeout,
           "right, once it answers")


def test_a_slow_server(served, bundle):
    with opened(bundle, served) as accelerator:
        served.order(f"delay {RPC / 5}")
        with faults_table.attempt() as made:
            assert right(accelerator)
        served.order("delay 0")
        assert made.seconds > RPC  # no call took that long, together they did
        assert right(accelerator)
    record("PYNQ.remote's server is slow", "every answer is R / 5 late", made, "T", 60.0)


def killed_host(served) -> bool:
    """Run a host's jobs, kill it, and return whether it left transfers under way."""
    code = f"""
from qblif.host import open
with open({str(CASE / "digits.qblif")!r}, {served.target!r}, overlay={str(OVERLAY)!r}) as accelerator:
    print("running", flush=True)
    while True:
        accelerator.run_batch(accelerator.bundle.golden_inputs)
"""
    client = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline().strip() == "running"
    served.wait_for_transfers()
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    time.sleep(0.3)  # its last call may still be under way
    return served.transferring()


def test_a_host_that_is_killed_in_mid_job(served, bundle):
    deadline = time.monotonic() + PATIENCE
    while not killed_host(served):
        assert time.monotonic() < deadline, "no host was killed in mid-job"
    before = len(json.loads(served.order("programmed")))
    with faults_table.attempt() as made, opened(bundle, served) as accelerator:
        assert right(accelerator)
    assert (len(json.loads(served.order("programmed"))), served.order("cut_off")) == (before + 1, "0")
    record("host is killed in mid-job, another one opens the board from afar", "the process gets SIGKILL", made,
           "T", 60.0)


def test_an_overlay_for_another_part(served, bundle):
    with opened(bundle, served) as accelerator:
        assert right(accelerator)
    with faults_table.attempt() as made:
        open_accelerator(bundle, served.target, overlay=CASE / "digits.kv260", rpc_timeout=RPC)
    assert "nothing was programmed" in str(made.error)
    assert len(json.loads(served.order("programmed"))) == 1
    with open_accelerator(bundle, served.target, overlay=OVERLAY, download=False, rpc_timeout=RPC) as accelerator:
        assert right(accelerator)  # the board is as it was
    record("bitstream for another part", "an overlay for the KV260 is given for a PYNQ-Z2", made, "T", 60.0,
           PartMismatch, "right: nothing was programmed")


def old_bitstream(tmp_path) -> pathlib.Path:
    """Return a file with what the board would have of another build's .bit."""
    path = tmp_path / "old"
    path.write_bytes(bit2bin((CASE / "other.pynq-z2" / "qblif.bit").read_bytes()))
    return path


def test_a_board_that_kept_an_old_bitstream_under_the_same_name(served, bundle, tmp_path):
    """pynq uploads nothing where a file of the .bit's name is on the board already."""
    served.order(f"put /lib/firmware/qblif.bin {old_bitstream(tmp_path)}")
    with faults_table.attempt() as made, opened(bundle, served) as accelerator:
        assert right(accelerator)
    record("board kept an old bitstream under the same name", "/lib/firmware/qblif.bin is there, of another build",
           made, "T", 60.0)


def test_a_board_that_programs_another_bitstream_than_it_was_given(served, bundle, tmp_path):
    name = f"qblif-{hashlib.sha256(bit2bin((OVERLAY / 'qblif.bit').read_bytes())).hexdigest()[:16]}.bin"
    with opened(bundle, served):
        served.order(f"put /lib/firmware/{name} {old_bitstream(tmp_path)}")
    with faults_table.attempt() as made, opened(bundle, served):
        pass
    again = Served()
    with opened(bundle, again) as accelerator:
        assert right(accelerator)
    again.close()
    record("board programs another build than it was given", "its copy of the file is replaced", made, "T", 60.0,
           BuildMismatch, "right, after the board was restarted")
