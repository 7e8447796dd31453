"""Many renders in one run: each row of a manifest is rendered once, or reported with the reason."""
