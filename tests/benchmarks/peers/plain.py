"""A bare Quart view, for what the framework and the server take of each request."""

from quart import Quart


def create_app() -> Quart:
    """One page."""
    app = Quart(__name__)

    @app.get("/hello")
    async def hello() -> str:
        return "Hello, World!"

    return app
