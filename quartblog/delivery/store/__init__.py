"""One SQLite file a host: groups of errors, mails that wait, and the workers' heartbeats."""
