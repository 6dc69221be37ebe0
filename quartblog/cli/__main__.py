"""`python -m quartblog.cli`: the command, where it is not installed."""

from quartblog.cli import main

if __name__ == "__main__":
    main(prog_name="quartblog")
