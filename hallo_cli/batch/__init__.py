"""Many renders as one piece of work: each row of a manifest is done once or named with its reason."""
