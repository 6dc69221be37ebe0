"""Record -> event -> fingerprint: when two failures are the same one."""
