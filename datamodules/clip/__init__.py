"""Clips of recordings: which frames, which order, which side, how they look."""
