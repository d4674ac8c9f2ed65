"""Recipes of `qblif train`, as TOML; docs/training.md explains them."""
