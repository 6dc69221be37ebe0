"""Quart, but its record of a failed request tells the route's rule: the path holds what a visitor wrote."""

from typing import Any

from quart import Quart, has_request_context, request


class Application(Quart):
    """The class of our app."""

    def log_exception(self, *arguments: Any) -> None:
        """Record the exception that nothing in the app has handled; its information comes last.

        From Quart 0.23 on the context comes before it.
        """
        if has_request_context():
            route = request.url_rule.rule if request.url_rule is not None else "(no route)"
            # The line tells the caller's place, in Quart, as it did before.
            self.logger.error("Exception on request %s %s", request.method, route, exc_info=arguments[-1], stacklevel=2)
        else:
            super().log_exception(*arguments)
