"""Everything the program writes: whole files, digests, locks."""
