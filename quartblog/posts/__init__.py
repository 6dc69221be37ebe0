"""The timeline, and what is added to it."""
