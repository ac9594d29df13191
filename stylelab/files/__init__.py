"""Files: decoding, encoding, downloading, writing. Everything but the method may import it."""
