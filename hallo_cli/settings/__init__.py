"""What to render and how, as data: schema, presets, precedence."""
