"""Endless streams of frames: who plays them, in chunks, over worker processes."""
