"""The networks of Hallo, and nothing else: no paths, no progress, no command line."""
