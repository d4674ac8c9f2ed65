"""Notebooks for a board with a PYNQ image; `pynq get-notebooks qblif` copies them."""
