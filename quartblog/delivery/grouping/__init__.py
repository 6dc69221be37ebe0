"""Record -> fingerprint -> event -> tally: which records report the same failure, and how many."""
