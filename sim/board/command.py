"""What `qblif board` does: make a bundle's overlay for a virtual board, serve the board, and say how to use it."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import sys
from pathlib import Path

from qblif.host import bitfile, hwh, overlays
from qblif.host.bundle import Bundle
from qblif.host.errors import BuildMismatch
from qblif.hw.params import DesignParams

from . import build
from .board import KINDS, Board, Design
from .overlay import make_overlay
from .server import PORT, Server

CYCLES = 20_000
"""Clock cycles per register access: more than elsewhere, since each access is a call from another process."""


def prepare(path: Path, kind: str | None, overlay: Path | None) -> tuple[overlays.Overlay, Board]:
    """Return an overlay and a board that knows it.

    path: of a bundle; kind: key of KINDS, None: the overlay's, or else a PYNQ-Z2; overlay: folder or .bit to use; None:
    one is written beside the bundle. Raises BundleError, OverlayError, PartMismatch, BuildMismatch, ToolMissing,
    OSError."""
    bundle = Bundle.load(path)
    found = None if overlay is None else overlays.Overlay.load(overlay)
    print("building the simulated hardware; the first time it takes about a minute", file=sys.stderr)
    if found is None:
        kind = kind or "pynq-z2"
        found, designs = make_overlay(bundle, path.with_suffix(f".{kind}"), kind)
        return found, Board(kind, designs, CYCLES)
    kind = kind or found.board
    found.verify(kind)
    if found.build_hash != bundle.build_hash:
        raise BuildMismatch(f"the overlay {found} is not the hardware of {path}, which is build "
                            f"{bundle.build_hash:016x}", hint="give the bundle that the overlay was built from")
    digest = hashlib.sha256(bitfile.read(found.bit).data).hexdigest()
    family = "zynq" if KINDS[kind].arch == "armv7l" else "zynqmp"
    library = build.library(DesignParams.from_dict(bundle.design), KINDS[kind].address_bits)
    return found, Board(kind, {digest: Design(library, hwh.BASE_ADDRESS[family])}, CYCLES)


def serve(path: Path, kind: str | None, overlay: Path | None, host: str, port: int) -> None:
    """Serve a virtual board until Ctrl-C. Raises as `prepare`, and OSError where it cannot listen."""
    found, board = prepare(path, kind, overlay)
    with contextlib.closing(board), Server(board, host, port) as server:
        if not _is_loopback(host):
            print(f"warning: {server.address} can be reached by others, who may use the board without being asked who "
                  f"they are", file=sys.stderr)
        print(usage(found, board, server, path), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
    print("\nstopped")


def usage(overlay: overlays.Overlay, board: Board, server: Server, bundle: Path) -> str:
    """Return what a person has to type to use a served board."""
    lines = [f"a virtual {board.kind.pynq_name} listens on {server.address}; Ctrl-C stops it",
             "",
             f"its overlay is in {overlay.folder}",
             "",
             "with pynq 3.1 or 4.0 (PYNQ_REMOTE=1 pip install pynq, Python 3.10 to 3.12), on this machine:",
             "",
             f"    qblif selftest {bundle} --target pynq://{server.address} --option overlay={overlay.folder}",
             "",
             "or in Python:",
             "",
             "    from qblif import host",
             f'    accelerator = host.open("{bundle}", target="pynq://{server.address}", overlay="{overlay.folder}")',
             "    accelerator.self_test()"]
    if server.port == PORT:
        host = server.address.rpartition(":")[0]
        lines += ["",
                  "or as PYNQ.remote is meant to be used, for instance in a notebook:",
                  "",
                  f'    import os; os.environ["PYNQ_REMOTE_DEVICES"] = "{host}"   # before pynq is imported',
                  f'    import pynq; overlay = pynq.Overlay("{overlay.bit}")',
                  f'    accelerator = overlay.qblif_0.open("{bundle}")']
    return "\n".join(lines)


def _is_loopback(host: str) -> bool:
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
