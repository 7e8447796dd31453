"""Times of the pipeline, stage by stage, and what faster settings lose."""
