"""Folders with all the weights of a render: found, described, checked, fetched from the hub, converted."""
