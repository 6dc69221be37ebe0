"""The blog itself, which keeps no rendered piece: what a page costs that shows nothing anybody has seen before."""

from quart import Quart

from quartblog import app
from quartblog.web.pieces import Pieces


def create_app() -> Quart:
    """As quartblog.app.create_app."""
    made = app.create_app()
    made.jinja_env.globals["piece"] = Pieces(made.jinja_env, most=0)
    return made
