"""Health probes and live settings for operators of the running site."""
