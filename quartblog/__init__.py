"""A small self-hosted microblog that never shows a visitor a naked error, and never lets its operator miss one."""

__version__ = "0.1.0"
