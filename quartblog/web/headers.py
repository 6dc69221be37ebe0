"""The headers every answer carries."""

from quart import Quart, Response, request

# No script, nothing from another host, no framing: there is nothing here that needs more.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Seconds a browser remembers to ask by HTTPS only: a year.
HSTS = "max-age=31536000"
# A page differs by who asks, in which language, and for which kind of answer.
VARY = "Cookie, Accept-Language, Accept"


def init_app(app: Quart, *, secure: bool) -> None:
    """Add the headers to every answer; `secure` where the site is served by HTTPS only."""
    headers = SECURITY_HEADERS | ({"Strict-Transport-Security": HSTS} if secure else {})

    async def add_headers(response: Response) -> Response:
        response.headers.update(headers)
        if request.endpoint != "static":
            response.headers["Vary"] = VARY
            response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    app.after_request(add_headers)
