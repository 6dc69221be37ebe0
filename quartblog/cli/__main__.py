"""`python -m quartblog.cli`: the command, where it is not installed."""

from quartblog.cli import main

main(prog_name="quartblog")
