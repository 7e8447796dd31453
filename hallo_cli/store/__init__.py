"""Everything the program writes: complete files, digests, locks."""
