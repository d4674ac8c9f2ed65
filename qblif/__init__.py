"""qblif: takes a quantized-burst spiking network from PyTorch to an FPGA, with the very same integers."""

__version__ = "0.1.0"
