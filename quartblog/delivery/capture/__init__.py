"""Logging call -> bounded queue -> listener thread -> log file and outbox, within milliseconds."""
