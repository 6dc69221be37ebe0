"""What every page shares: forms, CSRF, languages, headers, limits, and the last resort."""
