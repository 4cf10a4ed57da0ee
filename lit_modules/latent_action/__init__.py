"""Latent actions: motion to tokens, tokens to segments, segments to clusters."""
