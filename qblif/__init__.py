"""qblif: takes a quantized-burst spiking network from PyTorch to an FPGA, with the very same integers."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """Import the host only when it is asked for: `qblif.open(bundle)`."""
    if name == "open":
        from qblif.host import open
        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
