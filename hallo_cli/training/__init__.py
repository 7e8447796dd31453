"""The two stages of training: data preparation, losses, loops, export."""
