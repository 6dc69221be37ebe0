"""Due groups -> digest, by the leader of the host -> SMTP server."""
