"""The command `qblif`: one sub-command per step of the chain.

Only the standard library is imported here; each command imports what it needs when it runs, so that the
command works on a board that has nothing but numpy, and says what is missing where more is needed.
"""

from __future__ import annotations

import argparse
import sys

from qblif import __version__


def version(args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"qblif {__version__}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="qblif", description="From a trained quantized-burst spiking network to FPGA "
                                                            "logic, with the very same integers.")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    commands.add_parser("version", help=version.__doc__).set_defaults(run=version)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 a comparison failed, 2 a mistake, 130 interrupted."""
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
