"""Hallo: one portrait and one speech recording in, a video of that person speaking out."""

__version__ = "0.1.0"
