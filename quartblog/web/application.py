"""Quart, but its record of a failed request tells the route's rule: the path holds what a visitor wrote."""

from types import TracebackType

from quart import Quart, has_request_context, request


class Application(Quart):
    """The class of our app."""

    def log_exception(
        self, exception_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None]
    ) -> None:
        """Record the exception that nothing in the app has handled."""
        if has_request_context():
            route = request.url_rule.rule if request.url_rule is not None else "(no route)"
            self.logger.error("Exception on request %s %s", request.method, route, exc_info=exception_info)
        else:
            super().log_exception(exception_info)
