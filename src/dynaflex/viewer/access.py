"""Who may ask: a key for one browser, the right host, the right page, and not too much at once."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 20
LONGEST_REQUEST = 60.0
LONGEST_QUERY = 4096
CSRF = "x-dynaflex-key"
POLL = "/api/progress"
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.ASCII)
"""The Host headers of a browser that reached loopback by name, at whatever port was forwarded.

A page elsewhere that has its own name point here sends that name, so these are safe at any port.
"""
_UNKNOWN_NAME = (
    "The explorer does not answer to this name. With ssh -L, forward any port of your machine to {}, and open\n"
    "http://localhost:PORT with that port in the link that `dynaflex view` printed last.\n"
)
_NO_KEY = (
    "Open the link that `dynaflex view` printed last, in a browser that takes cookies: every link works once.\n"
    "The one that answers here listens at {}.\n"
)


class Keys:
    """The secrets of one start: a token that opens the page once, then the browser's cookie and its write key.

    ``place`` names where it listens: browsers share the cookies of all ports of a host, and several explorers can be
    reached through one.
    """

    def __init__(self, place: str) -> None:
        self.cookie = f"dynaflex-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
        self.token = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        self._sessions: list[str] = []

    def exchange(self, token: str) -> str | None:
        """A new cookie for the token, which is then spent and replaced; None if it is not the token."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(32)
        self._sessions.append(secrets.token_urlsafe(32))
        return self._sessions[-1]

    def knows(self, headers: Headers) -> bool:
        """Whether the request carries a cookie that was given out."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        given = (morsel.value if morsel else "").encode()
        return any([secrets.compare_digest(given, session.encode()) for session in self._sessions])


class Guard:
    """Lets requests pass that come from our own page in a browser that was given the link.

    ``hosts`` are the exact values of the Host header that are served, beside the names of loopback with any port; who
    comes by another name, or without a key, is told the ``place``. ``opened`` is called when a link was used.
    ``last_use`` is when somebody last did something, on the clock of ``time.monotonic``.
    """

    def __init__(self, app: ASGIApp, keys: Keys, hosts: frozenset[str], place: str, opened: Callable[[], None]) -> None:
        self.app, self.keys, self.hosts, self.place, self.opened = app, keys, hosts, place, opened
        self.last_use = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse with a reason."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            # There are none here; closing before accepting is answered with 403.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            refusal = self._refusal(scope) or self._entrance(scope)
            if refusal is None and scope["path"] != POLL:
                self.last_use = time.monotonic()
            await self._serve(refusal or _Limited(self.app), scope, receive, send)

    async def _serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await asyncio.wait_for(app(scope, receive, guarded_send), LONGEST_REQUEST)
        except TimeoutError:
            if not started:
                await PlainTextResponse("this took too long\n", 408)(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is wrong with the request, whoever sent it."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not (_LOOPBACK.fullmatch(host) or host in self.hosts):
            return PlainTextResponse(_UNKNOWN_NAME.format(self.place), 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("only GET and POST\n", 405)
        if len(scope["query_string"]) > LONGEST_QUERY or len(scope["path"]) > LONGEST_QUERY:
            return PlainTextResponse("too long\n", 414)
        writes = scope["method"] == "POST"
        origins = headers.getlist("origin")
        if (writes and not origins) or any(origin != f"http://{host}" for origin in origins):
            return PlainTextResponse("another page asks\n", 403)
        site = headers.get("sec-fetch-site", "same-origin")
        # A link in a terminal that is itself a web page is followed from another site; it can only open the page.
        entering = scope["path"] == "/" and not writes
        if site not in ("same-origin", "none") and not entering:
            return PlainTextResponse("another site asks\n", 403)
        if writes and not secrets.compare_digest(headers.get(CSRF, "").encode(), self.keys.csrf.encode()):
            return PlainTextResponse("the key to write is missing\n", 403)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return PlainTextResponse("too large\n", 413)
        return None

    def _entrance(self, scope: Scope) -> Response | None:
        """The exchange of a token for a cookie, or the refusal of somebody who has neither."""
        if scope["path"] == "/" and scope["method"] == "GET" and scope["query_string"]:
            tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            session = self.keys.exchange(tokens[0]) if len(tokens) == 1 else None
            if session is not None:
                entered = RedirectResponse("/", 303)
                entered.set_cookie(self.keys.cookie, session, path="/", httponly=True, samesite="strict")
                self.opened()
                return entered
            if tokens:
                return self._no_key()
        return None if self.keys.knows(Headers(scope=scope)) else self._no_key()

    def _no_key(self) -> Response:
        return PlainTextResponse(_NO_KEY.format(self.place), 403)


class _Limited:
    """An application that hears no more of a body than the largest allowed, whatever its length was said to be."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        heard = 0

        async def counted() -> Message:
            nonlocal heard
            message = await receive()
            heard += len(message.get("body", b""))
            if heard > LARGEST_BODY:
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, counted, send)
