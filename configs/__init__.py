"""Presets that ship with the package; `base.yaml` lies under every one of them."""

from pathlib import Path

BASE = Path(__file__).with_name("base.yaml")

__all__ = ["BASE"]
