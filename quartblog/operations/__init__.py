"""Health probes, metrics and live settings for operators of the running site."""
