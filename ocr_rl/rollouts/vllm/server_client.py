"""HTTP client of a vLLM server.

The routes are those of vLLM 0.32: /inference/v1/generate takes token ids and an image and returns token ids with their
log probabilities; the routes that pause it, load weights and drop caches exist in its development mode only, and no
key protects them. So run the server in a network that only its users can reach.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

KEY_VARIABLE = "OCR_RL_SERVER_KEY"
"""Environment variable with the server's --api-key, if it has one."""
CACHES = ("/reset_prefix_cache", "/reset_encoder_cache", "/reset_mm_cache")
"""Routes that reset the server's caches of pages; loading weights resets none of them."""
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
"""For routes that answer immediately."""


class ServerUnreachableError(Exception):
    """The server cannot be reached, is silent, or broke the connection."""


class ServerSilentError(ServerUnreachableError):
    """The server sent nothing for longer than the timeout."""


class ServerError(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status, self.message = status, message


class StreamConnections:
    """Connections of one stream, which `hang_up` closes from any thread."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._sockets: set[socket.socket] = set()

    @contextlib.contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Raises ServerUnreachableError after `hang_up`."""
        self._sockets.add(connection)
        try:
            if self.ended.is_set():
                raise ServerUnreachableError("hung up")
            yield
        finally:
            self._sockets.discard(connection)

    def hang_up(self) -> None:
        self.ended.set()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)


class VllmServer:
    """One server; any thread may use it. Connects to `url` only: no proxy, no redirect.

    Raises:
        ValueError: `url` is not an HTTP address.
    """

    def __init__(self, url: str) -> None:
        advice = f'vllm.server is "{url}"; write an address such as "http://gpu1:8000"'
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(advice) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.username:
            raise ValueError(advice)
        self.url = url.rstrip("/")
        self.host, self.prefix = parts.hostname, parts.path.rstrip("/")
        self.port = port or (443 if parts.scheme == "https" else 80)
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection

    def get(self, path: str, timeout: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        return self._answer("GET", path, None, timeout)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, timeout: float = ANSWER_TIMEOUT_S
    ) -> dict[str, Any]:
        return self._answer("POST", path, body, timeout)

    def generate(
        self, body: Mapping[str, Any], timeout: float, calls: StreamConnections, engine: int | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Pieces of completions as they come, at most `timeout` seconds apart.

        Args:
            engine: the one that samples, of a server with --data-parallel-size; None: any.

        Raises:
            ServerUnreachableError: the connection broke, or was closed by `hang_up`.
            ServerError: the server refused the request (status below 500), or failed.
        """
        with self._connected(timeout) as connection, calls.holding(connection.sock):
            headers = {} if engine is None else {"X-data-parallel-rank": str(engine)}
            response = self._send(connection, "POST", "/inference/v1/generate", {**body, "stream": True}, headers)
            for line in response:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    return
                try:
                    piece = json.loads(line[6:])
                except ValueError:
                    break  # a truncated line
                if "error" in piece:
                    raise ServerError(int(piece["error"].get("code", 500)), str(piece["error"].get("message")))
                yield piece
            raise ServerUnreachableError(f"{self.url} broke off its answer")

    def own_address(self) -> str:
        """This machine's address, as the server sees it."""
        with self._connected(ANSWER_TIMEOUT_S) as connection:
            address: str = connection.sock.getsockname()[0]
        return address

    @contextlib.contextmanager
    def _connected(self, timeout: float) -> Iterator[http.client.HTTPConnection]:
        """A connection that turns every network error into ServerUnreachableError."""
        connection = self._kind(self.host, self.port, timeout=min(timeout, CONNECT_TIMEOUT_S))
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            yield connection
        except TimeoutError:
            raise ServerSilentError(f"{self.url} does not answer") from None
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachableError(f"{self.url}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", **headers}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, self.prefix + path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ServerError(response.status, _message(response.read()))
        return response

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> dict[str, Any]:
        with self._connected(timeout) as connection:
            content = self._send(connection, method, path, body).read()
        try:
            answer = json.loads(content or b"{}")
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServerError(200, f"{path} does not answer as vLLM does")
        return answer


def _message(content: bytes) -> str:
    """The error message of an answer."""
    text = content.decode(errors="replace")
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(text)["error"]
        return str(found["message"] if isinstance(found, dict) else found)
    return text[:300] or "no reason given"
