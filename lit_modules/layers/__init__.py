"""Layers and optimizers that more than one system uses: plain torch, no Lightning."""
