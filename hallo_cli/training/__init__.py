"""Data preparation, losses, loops and the synthetic corpus."""
