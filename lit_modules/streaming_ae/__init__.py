"""Streaming autoencoder: learns a video stream online, one update a frame, no replay."""

from lit_modules.streaming_ae.module import LitStreamingAutoencoder

__all__ = ["LitStreamingAutoencoder"]
