"""hypercorn.toml -> listening sockets -> the parent process -> worker processes -> Hypercorn's connections."""
