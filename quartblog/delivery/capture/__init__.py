"""Logging call -> bounded queue -> listener thread -> file and outbox: what happens to a record within milliseconds."""
