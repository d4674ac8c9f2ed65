"""Benches of the emitted Verilog, and what they are tried on."""
