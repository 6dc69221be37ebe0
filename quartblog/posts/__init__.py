"""The timeline, and publishing to it."""
