"""Figures that say how good a rendered video is."""
