"""Record -> fingerprint -> event -> tally: which failures are the same one, and how often it happened."""
