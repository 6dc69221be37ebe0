"""Quart, but its records of failed requests tell the route's rule, not the path, and none is left out.

The path holds what a visitor wrote, and what Quart shows a developer itself it does not record.
"""

from inspect import iscoroutinefunction
from typing import Any

from quart import Quart, Request, has_request_context, request
from quart.typing import ResponseTypes


class Application(Quart):
    """The class of our app."""

    async def handle_request(self, request: Request) -> ResponseTypes:
        """Answer, and record what Quart is about to show: with DEBUG or TESTING it raises before it would."""
        try:
            return await super().handle_request(request)
        except Exception as error:
            if self.debug or self.testing:
                self._record(request, error)
            raise

    def log_exception(self, *arguments: Any) -> None:
        """Record the exception that nothing in the app has handled; its information comes last.

        From Quart 0.23 on the context comes before it.
        """
        if has_request_context():
            self._record(request, arguments[-1])
        else:
            super().log_exception(*arguments)

    def _record(self, request: Request, exc_info: Any) -> None:
        route = request.url_rule.rule if request.url_rule is not None else "(no route)"
        # The line tells the caller's place, in Quart, as it did before.
        self.logger.error("Exception on request %s %s", request.method, route, exc_info=exc_info, stacklevel=3)


def drop_threaded_context(app: Quart) -> None:
    """Let no page wait for a thread. Comes after all blueprints.

    Quart calls each context processor that is no coroutine on one: quart-auth's, for a user that no template of ours
    asks for, and Flask's, which every blueprint brings along and which finds no request of Flask's. Any other one is
    a mistake of ours.
    """
    for name, processors in app.template_context_processors.items():
        ours = [one for one in processors if one.__module__.partition(".")[0] not in ("flask", "quart_auth")]
        assert all(map(iscoroutinefunction, ours)), ours  # noqa: S101  for who writes one
        app.template_context_processors[name] = ours
