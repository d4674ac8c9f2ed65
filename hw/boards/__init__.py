"""Boards: what is around an accelerator on each, and how its bitstream is made."""
