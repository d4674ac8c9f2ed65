"""qblif: takes a quantized-burst spiking network from PyTorch to an FPGA, with the very same integers."""

__version__ = "0.1.0"

__all__ = ["Accelerator", "Bundle", "QblifError", "open"]


def __getattr__(name: str):
    """Import what the host part offers when it is first used, so that `import qblif` is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qblif import host

    return getattr(host, name)


def __dir__() -> list[str]:
    """Return the names that `import qblif` offers."""
    return sorted({*globals(), *__all__})
