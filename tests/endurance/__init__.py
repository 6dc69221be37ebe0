"""Promises about a site under faults, each tried on real servers: `python -m tests.endurance`."""
