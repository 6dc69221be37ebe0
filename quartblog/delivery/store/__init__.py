"""Events and mails -> one SQLite file a host: groups, mails, heartbeats of workers -> sender, commands, pages."""
