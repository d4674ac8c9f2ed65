"""Make the environments of the pynq versions that qblif is tested with: build/pynq/<version>.

    python tests/pynq/environments.py [VERSION ...]

pynq comes as source only, wants an old setuptools in place while it is installed, skips its compiled parts with
PYNQ_REMOTE=1, and writes files into its own folder at every download: so each has an environment of its own. qblif is
installed there as its host part alone, without dependencies.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "pynq"

PYTHONS = {"3.0.1": "3.10", "3.1.2": "3.10", "4.0.0": "3.11"}
"""Version of pynq -> the Python of its images, or where that has no wheels here, the nearest."""

BUILD_TOOLS = ("setuptools==80.0.0", "wheel==0.45.1")
"""In place before pynq: pynqutils imports pkg_resources, which later setuptools have not."""


def requirements(version: str) -> pathlib.Path:
    """Return the file with the exact versions beside pynq `version`."""
    return pathlib.Path(__file__).with_name(f"requirements-{version}.txt")


def python(version: str) -> pathlib.Path:
    """Return the interpreter of an environment, whether it exists or not."""
    return FOLDER / version / "bin" / "python"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """A file that says what a step was made of, once it was done."""

    file: pathlib.Path
    wanted: str

    def fresh(self) -> bool:
        """Return whether the step was done with what stands here now."""
        return self.file.is_file() and self.file.read_text() == self.wanted

    def put(self) -> None:
        """Say that the step was done."""
        self.file.write_text(self.wanted)


def stamps(version: str) -> tuple[Stamp, Stamp]:
    """Return the stamps of the two steps: pynq, and qblif."""
    def stamp(name: str, *sources: pathlib.Path) -> Stamp:
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        return Stamp(FOLDER / version / name, digest)

    return stamp(".pynq", requirements(version)), stamp(".qblif", ROOT / "pyproject.toml")


def ready(version: str) -> bool:
    """Return whether the environment is there and made of what stands here now."""
    return all(stamp.fresh() for stamp in stamps(version))


def interpreter(wanted: str) -> str:
    """Return a Python of a version: from the PATH, of pyenv, or a name that uv may download."""
    name = f"python{wanted}"
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    for candidate in (sys.executable, name, *map(str, sorted(pyenv.glob(f"versions/{wanted}.*/bin/{name}")))):
        found = shutil.which(candidate)
        if found:
            said = subprocess.run([found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                                  capture_output=True, text=True, check=False).stdout.strip()
            if said == wanted:
                return found
    return wanted


def make(version: str) -> None:
    """Make or renew an environment. Raises SystemExit where a step fails; its output says why."""
    if ready(version):
        return
    environment = {name: value for name, value in os.environ.items() if name not in ("XILINX_XRT", "PYTHONPATH")}
    environment |= {"PYNQ_REMOTE": "1"}
    folder = FOLDER / version

    def uv(*arguments: str) -> None:
        command = [sys.executable, "-m", "uv", *arguments]
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            raise SystemExit(f"pynq {version} cannot be installed: {' '.join(command)} failed, see above")

    def install(*arguments: str) -> None:
        # copies: pynq writes into its folder, and must not write into uv's cache
        uv("pip", "install", "--quiet", "--link-mode", "copy", "--python", str(python(version)), *arguments)

    ours, theirs = reversed(stamps(version))
    print(f"making {folder.relative_to(ROOT)} with pynq {version}", flush=True)
    if not theirs.fresh():
        shutil.rmtree(folder, ignore_errors=True)
        uv("venv", "--quiet", "--python", interpreter(PYTHONS[version]), str(folder))
        install(*BUILD_TOOLS)
        install("--no-build-isolation", "--requirement", str(requirements(version)))
        theirs.put()
    install("--no-build-isolation", "--no-deps", "--editable", str(ROOT))
    ours.put()


if __name__ == "__main__":
    for each in sys.argv[1:] or PYTHONS:
        if each not in PYTHONS:
            raise SystemExit(f"there are no requirements for pynq {each}; there are for {', '.join(PYTHONS)}")
        make(each)
