"""A small self-hosted microblog: visitors never see a raw error, and operators never miss one."""

__version__ = "0.1.0"
