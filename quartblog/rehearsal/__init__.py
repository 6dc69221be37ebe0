"""The real pipeline against a private mail server: what a storm of failures would do here."""
