"""`python -m qblif`, and with it `torchrun -m qblif`: the command of the same name."""

import sys

from qblif.cli import main

if __name__ == "__main__":
    sys.exit(main())
