"""The codec: recordings as small files that survive damage."""
