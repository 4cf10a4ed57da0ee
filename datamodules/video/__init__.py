"""Files of video: decoding around damage, encoding, the cache of decoded recordings."""
