"""The parts that every page shares: forms, CSRF tokens, languages, headers, limits, and the last-resort answer."""
