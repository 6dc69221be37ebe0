"""Malformed and unusual requests by name, with secrets that no record may show."""

CANARIES = ("canary-cookie-4711", "canary-token-4711", "canary-query-4711")
_SECRETS = b"Host: blog.example\r\nCookie: quartblog=canary-cookie-4711\r\nAuthorization: Bearer canary-token-4711\r\n"
_TARGET = b"/nowhere?q=canary-query-4711"

WRONG = {
    "an upgrade to HTTP/2": b"GET " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n",
    "a broken upgrade to HTTP/2": b"GET " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \xff!\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "a websocket of a wrong version": b"GET " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 5\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    "a websocket": b"GET " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "CONNECT": b"CONNECT canary-query-4711:443 HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "OPTIONS for the server": b"OPTIONS * HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "two lengths": b"POST " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two different lengths": b"POST / HTTP/1.1\r\n" + _SECRETS + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "an unknown encoding": b"POST / HTTP/1.1\r\n" + _SECRETS + b"Transfer-Encoding: gzip\r\n\r\n",
    "a broken chunk": b"POST /login HTTP/1.1\r\n" + _SECRETS + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a head of 20 KB in one piece": b"GET /hello HTTP/1.1\r\n" + _SECRETS + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "an address of 20 KB": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "a head without an end": b"GET /hello HTTP/1.1\r\n" + _SECRETS + b"X: " + b"a" * 80_000,
    "bytes in the address": b"GET /caf\xc3\xa9 HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "escaped bytes in the address": b"GET /%ff%fe?q=%ff HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "an address that is none": b"GET http://[canary-query-4711 HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "a method that is none": b"G\xc3\x8bT / HTTP/1.1\r\n" + _SECRETS + b"\r\n",
    "a header that is none": b"GET / HTTP/1.1\r\n" + _SECRETS + b"canary-token-4711\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\n" + _SECRETS + b"X: a\x00b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + _SECRETS + b"Host: other.example\r\n\r\n",
    "another version": b"GET /canary-query-4711 HTTP/3.0\r\n" + _SECRETS + b"\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 canary-token-4711",
    "nothing": b"",
    "a half line": b"GET /canary-query-4711",
    "a body of 200 bytes for nobody": b"POST " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS + b"Content-Length: 200\r\n\r\n"
    + b"a" * 200,
    "300 KB for a form": b"POST /login HTTP/1.1\r\n" + _SECRETS + b"Content-Length: 300000\r\n\r\n" + b"a" * 300_000,
    "300 KB for nobody": b"POST " + _TARGET + b" HTTP/1.1\r\n" + _SECRETS + b"Content-Length: 300000\r\n\r\n"
    + b"a" * 300_000,
    "half a body": b"POST /login HTTP/1.1\r\n" + _SECRETS + b"Content-Length: 200\r\n\r\n" + b"a" * 10,
    "garbage behind a request": b"GET /hello HTTP/1.1\r\n" + _SECRETS + b"\r\n" + b"\x00canary-token-4711" * 10,
}  # fmt: skip
