"""A served virtual board that a test can order about: python serve.py CASE ADDRESS; used by checks_remote.py.

Prints the address to use, then answers each line of its input with a line: ``delay SECONDS``, ``fault JSON`` (arguments
of Fault), ``clear``, ``put PATH FILE`` (a file into the board's store), ``programmed`` (payload hashes), ``cut_off``
(how often that was amid transfers), ``transferring`` (whether transfers are under way). Ends with its input, or by
being killed.
"""

from __future__ import annotations

import json
import pathlib
import sys

from qblif.sim.board.board import Board, load_designs
from qblif.sim.board.faults import Fault
from qblif.sim.board.server import Server


def main(case: str, address: str) -> None:
    designs = {digest: design for path in sorted(pathlib.Path(case).glob("*/board.json"))
               for digest, design in load_designs(path).items()}
    board = Board("pynq-z2", designs, cycles=20_000)
    with Server(board, address, 0) as server:
        print(server.address, flush=True)
        for line in sys.stdin:
            order, _, rest = line.strip().partition(" ")
            answer = "done"
            if order == "delay":
                server.delay = float(rest)
            elif order == "fault":
                board.inject(Fault(**json.loads(rest)))
            elif order == "clear":
                board.clear_faults()
            elif order == "put":
                path, _, file = rest.partition(" ")
                server.put(path, pathlib.Path(file).read_bytes())
            elif order == "programmed":
                answer = json.dumps(board.programmed)
            elif order == "cut_off":
                answer = json.dumps(board.cut_off)
            elif order == "transferring":
                answer = json.dumps(board.transferring)
            else:
                answer = f"unknown order {order!r}"
            print(answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
