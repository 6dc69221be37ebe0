"""`python -m quartblog.cli`: the command, without an installed script."""

from quartblog.cli import main

main(prog_name="quartblog")
