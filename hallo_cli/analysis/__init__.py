"""Inputs to model-ready values: the analysed portrait and the analysed speech."""
