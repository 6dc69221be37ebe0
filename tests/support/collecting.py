"""Test -> a real HTTP server that keeps what is posted to it, or behaves as badly as a test asks."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class Post(NamedTuple):
    """A request as it came, its body without compression, the names of its headers in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class CollectingServer:
    """Listens from the beginning of a `with` to its end."""

    def __init__(self) -> None:
        """Answer 200 with an empty body."""
        self.status = 200
        self.answer = b""
        self.headers: dict[str, str] = {}
        self.hanging = False
        """While it is set, requests are read and not answered."""
        self.entered = threading.Event()
        """Set by the first request."""
        self.posts: list[Post] = []
        """All requests that were answered or will not be, in order."""
        self._let_go = threading.Event()
        collecting = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                collecting.posts.append(
                    Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
                collecting.entered.set()
                if collecting.hanging:
                    collecting._let_go.wait(30)
                    self.close_connection = True
                    return
                self.send_response(collecting.status)
                for name, value in collecting.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(collecting.answer)))
                self.end_headers()
                self.wfile.write(collecting.answer)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Print nothing: a client may have left."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """The port, which nobody else has used before."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, whatever hangs."""
        if self._thread.is_alive():
            self.stop()
