"""Record -> text: tracebacks from a cache, control characters escaped, what visitors sent left out."""
