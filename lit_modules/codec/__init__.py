"""The codec: recordings as small files that survive damage."""

from lit_modules.codec.bitstream import BitstreamError, Group, Header, LavReader, LavWriter

__all__ = ["BitstreamError", "Group", "Header", "LavReader", "LavWriter"]
