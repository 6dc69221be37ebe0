"""The profile of a user: show it, edit one's own."""
