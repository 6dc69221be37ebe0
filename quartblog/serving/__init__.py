"""hypercorn.toml -> sockets -> a parent that watches -> worker processes -> Hypercorn, one connection at a time."""
