"""Marks finished videos as made by AI, signed (C2PA), and reads such marks; needs no network."""

COMMENT = "Made by AI (digital source type: trainedAlgorithmicMedia) with Hallo CLI"
