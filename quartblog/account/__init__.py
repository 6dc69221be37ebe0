"""One's own page: the password, and the browsers that are signed in."""
