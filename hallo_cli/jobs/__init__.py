"""A render as resumable work on disk: plan, workspace, runner."""
