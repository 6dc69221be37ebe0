"""Show and edit a person."""
