"""Groups that are due -> digest -> one leader a host -> the SMTP server."""
