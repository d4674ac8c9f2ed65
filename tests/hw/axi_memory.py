"""A memory on an AXI master's port, as slow and as faulty as a test wants it, and a checker of what the master does."""

from __future__ import annotations

import collections
import dataclasses
import random

OKAY, SLAVE, DECODE = 0, 2, 3
CHANNELS = ("ar", "r", "aw", "w", "b")


def ports(component) -> dict:
    """Return the signals of the AXI port: members m_axi_* or a member `axi`, by their names in AXI."""
    members = component.signature.members
    if "axi" in members:
        return {name: getattr(component.axi, name) for name in members["axi"].signature.members}
    return {name.removeprefix("m_axi_"): getattr(component, name) for name in members if name.startswith("m_axi_")}


@dataclasses.dataclass
class Pace:
    """How slow the memory is: cycles to a burst's first data or to its response, at most `spread` more at random;
    stall: probability per cycle that a channel does not move; order: what a write channel waits for ("any",
    "address first": wready only for a burst whose address was taken; "data first": awready only with data on offer)."""

    latency: int = 0
    spread: int = 0
    stall: float = 0.0
    order: str = "any"


class Memory:
    """Bytes from `base` on behind the AXI port of `component`; elsewhere is a decode error.

    Public, and to be changed while it runs: `pace`; `hanging`, channels that do not move; `faults`, a function of
    ("read" or "write", address) that gives the response to a burst; `log`, one (direction, address, words) per burst.
    """

    def __init__(self, component, base: int, size: int, rng: random.Random, pace: Pace | None = None):
        self._ports, self._rng = ports(component), rng
        self.base, self.bytes, self.pace = base, bytearray(rng.randbytes(size)), pace or Pace()
        self.hanging, self.log = set(), []
        self.faults = lambda direction, address: OKAY

    def put(self, address: int, words) -> None:
        """Store 32-bit words."""
        text = b"".join(int(word).to_bytes(4, "little") for word in words)
        self.bytes[address - self.base:address - self.base + len(text)] = text

    def get(self, address: int, count: int) -> list[int]:
        """Return 32-bit words."""
        at = address - self.base
        return [int.from_bytes(self.bytes[at + 4 * i:at + 4 * i + 4], "little") for i in range(count)]

    def _response(self, direction: str, address: int) -> int:
        if not self.base <= address < self.base + len(self.bytes):
            return DECODE
        return self.faults(direction, address)

    def _delay(self) -> int:
        return self.pace.latency + self._rng.randint(0, self.pace.spread)

    def _moves(self, channel: str) -> bool:
        return channel not in self.hanging and self._rng.random() >= self.pace.stall

    async def reads(self, ctx):
        """Serve the read channels, one burst after the other; a background process."""
        p = self._ports
        waiting, beats, now = collections.deque(), collections.deque(), 0
        sampled = [p[name] for name in ("arvalid", "arready", "araddr", "arlen", "rvalid", "rready")]
        async for _, _, arvalid, arready, araddr, arlen, rvalid, rready in ctx.tick().sample(*sampled):
            now += 1
            if arvalid and arready:
                waiting.append((now + self._delay(), araddr, arlen + 1))
                self.log.append(("read", araddr, arlen + 1))
            if rvalid and rready:
                beats.popleft()
                ctx.set(p["rvalid"], 0)
                rvalid = 0
            if not beats and waiting and now >= waiting[0][0]:
                _, address, words = waiting.popleft()
                response = self._response("read", address)
                for index in range(words):
                    at = address + 8 * index - self.base
                    value = int.from_bytes(self.bytes[at:at + 8], "little") if response == OKAY else 0
                    beats.append((value, response, index == words - 1))
            if not rvalid and beats and self._moves("r"):
                ctx.set(p["rvalid"], 1)
                for name, value in zip(("rdata", "rresp", "rlast"), beats[0], strict=True):
                    ctx.set(p[name], value)
            ctx.set(p["arready"], self._moves("ar"))

    async def writes(self, ctx):
        """Serve the write channels; a background process."""
        p = self._ports
        addresses, data, bursts, answers, now = collections.deque(), [], collections.deque(), collections.deque(), 0
        begun = 0       # bursts whose last data is still to come, of those in `addresses`
        sampled = [p[name] for name in ("awvalid", "awready", "awaddr", "awlen", "wvalid", "wready", "wdata", "wstrb",
                                        "wlast", "bvalid", "bready")]
        async for (_, _, awvalid, awready, awaddr, awlen, wvalid, wready, wdata, wstrb, wlast, bvalid,
                   bready) in ctx.tick().sample(*sampled):
            now += 1
            if awvalid and awready:
                addresses.append((awaddr, awlen + 1))
                begun += 1
                self.log.append(("write", awaddr, awlen + 1))
            if wvalid and wready:
                data.append((wdata, wstrb))
                if wlast:
                    bursts.append(data)
                    data = []
                    begun -= 1
            if bvalid and bready:
                answers.popleft()
                ctx.set(p["bvalid"], 0)
                bvalid = 0
            if addresses and bursts:
                (address, words), beats = addresses.popleft(), bursts.popleft()
                assert words == len(beats), f"a burst of {words} words came with {len(beats)}"
                response = self._response("write", address)
                if response == OKAY:
                    self._store(address, beats)
                answers.append((now + self._delay(), response))
            if not bvalid and answers and now >= answers[0][0] and self._moves("b"):
                ctx.set(p["bvalid"], 1)
                ctx.set(p["bresp"], answers[0][1])
            aw, w = self._moves("aw"), self._moves("w")
            if self.pace.order == "address first":
                w = w and begun > 0
            if self.pace.order == "data first":
                aw = aw and bool(wvalid or data or bursts)
            ctx.set(p["awready"], aw)
            ctx.set(p["wready"], w)

    def _store(self, address: int, beats) -> None:
        for index, (value, strobes) in enumerate(beats):
            for lane in range(8):
                if strobes >> lane & 1:
                    self.bytes[address + 8 * index + lane - self.base] = value >> 8 * lane & 0xFF


class Checker:
    """Fails where the master breaks a rule of AXI3, or this project's stricter ones.

    Public: `readable`, `writable`, ranges of addresses that may be touched (words of a read may be wider by half a
    word); `frozen`, no burst may be begun from now on; `open`, bursts not completed; `most`, most of those so far.
    """

    OUTSTANDING = 4

    def __init__(self, component):
        self._ports = ports(component)
        self.readable = self.writable = None
        self.frozen = False
        self.stopping = False       # strobes of 0 are in order
        self.open, self.most = {"read": 0, "write": 0}, {"read": 0, "write": 0}

    def _burst(self, direction, address, words, size, kind, cache, protection):
        where = f"{direction} burst of {words} words at {address:#x}"
        assert not self.frozen, f"{where} after the end of a job"
        assert 1 <= words <= 16, where
        assert (size, kind, cache, protection) == (3, 1, 0b0011, 0), where
        assert address % 8 == 0, where
        assert address // 4096 == (address + 8 * words - 1) // 4096, f"{where} crosses 4 KiB"
        allowed = self.readable if direction == "read" else self.writable
        if allowed is not None:
            assert allowed.start // 8 * 8 <= address, f"{where} begins before {allowed.start:#x}"
            assert address + 8 * words <= -(-allowed.stop // 8) * 8, f"{where} ends after {allowed.stop:#x}"
        self.open[direction] += 1
        self.most[direction] = max(self.most[direction], self.open[direction])
        assert self.open[direction] <= self.OUTSTANDING, f"{where} is one too many"

    async def reads(self, ctx):
        """Watch the read channels; a background process."""
        p = self._ports
        payload = [p[f"ar{name}"] for name in ("addr", "len", "size", "burst", "cache", "prot")]
        offered, lengths, seen = None, collections.deque(), 0
        async for _, _, valid, ready, rvalid, rready, rlast, *item in ctx.tick().sample(
                p["arvalid"], p["arready"], p["rvalid"], p["rready"], p["rlast"], *payload):
            self._stable("ar", offered, valid, item)
            if valid and offered is None:
                self._burst("read", item[0], item[1] + 1, *item[2:])
            if valid and ready:
                lengths.append(item[1] + 1)
            offered = item if valid and not ready else None
            if rvalid:
                assert rready, "data from memory had to wait"
                assert lengths
                seen += 1
                if rlast:
                    assert lengths.popleft() == seen
                    seen = 0
                    self.open["read"] -= 1

    async def writes(self, ctx):
        """Watch the write channels; a background process."""
        p = self._ports
        payload = [p[f"aw{name}"] for name in ("addr", "len", "size", "burst", "cache", "prot")]
        words = [p[name] for name in ("wdata", "wstrb", "wlast")]
        address_offered = word_offered = None
        bursts, counts, count, first = collections.deque(), collections.deque(), 0, None
        async for (_, _, awvalid, awready, wvalid, wready, bvalid, bready, *items) in ctx.tick().sample(
                p["awvalid"], p["awready"], p["wvalid"], p["wready"], p["bvalid"], p["bready"], *payload, *words):
            address, word = items[:6], items[6:]
            self._stable("aw", address_offered, awvalid, address)
            self._stable("w", word_offered, wvalid, word)
            if awvalid and address_offered is None:
                self._burst("write", address[0], address[1] + 1, *address[2:])
                bursts.append((address[0], address[1] + 1))
            if wvalid and word_offered is None:
                count += 1
                first = word[1] if count == 1 else first
                self._strobes(word[1], count, bool(word[2]))
                if word[2]:
                    counts.append(count)
                    count = 0
            if bursts and counts:
                assert bursts.popleft()[1] == counts.popleft(), "wlast came too early or too late"
            address_offered = address if awvalid and not awready else None
            word_offered = word if wvalid and not wready else None
            if bvalid and bready:
                self.open["write"] -= 1

    def _strobes(self, strobes, count, last):
        if self.stopping and strobes == 0:
            return
        allowed = {0xFF} | ({0xF0} if count == 1 else set()) | ({0x0F} if last else set())
        assert strobes in allowed, f"strobes {strobes:#04x} of word {count} of a burst"

    @staticmethod
    def _stable(channel, offered, valid, item):
        if offered is not None:
            assert valid, f"{channel}valid fell before {channel}ready"
            assert item == offered, f"the payload of {channel} changed before {channel}ready"
