"""What may a vendor's server do to a caller? A real socket that answers as it is told, breaks off, or says nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

Behaviour = Callable[[socket.socket, bytes], None]


def answer(status: int = 200, body: bytes = b"{}", *headers: str) -> Behaviour:
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]

    def act(peer: socket.socket, _request: bytes) -> None:
        peer.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    return act


def raw(data: bytes) -> Behaviour:
    """Exactly these bytes, then the connection is closed."""

    def act(peer: socket.socket, _request: bytes) -> None:
        peer.sendall(data)
        raise ConnectionAbortedError

    return act


def reset(data: bytes = b"") -> Behaviour:
    """These bytes, then a reset instead of an orderly end."""

    def act(peer: socket.socket, _request: bytes) -> None:
        peer.sendall(data)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError

    return act


def trickle(head: bytes, *, pause_seconds: float, times: int) -> Behaviour:
    """An answer that begins at once and then comes byte by byte."""

    def act(peer: socket.socket, _request: bytes) -> None:
        peer.sendall(head)
        for _ in range(times):
            threading.Event().wait(pause_seconds)
            peer.sendall(b" ")
        raise ConnectionAbortedError

    return act


class Vendor:
    """Listens on a free port; each request is treated by the next behaviour, the last one again and again."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.requests: list[bytes] = []
        self._behaviours = list(behaviours)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def silent(self) -> Behaviour:
        """Takes the request and never answers."""

        def act(_peer: socket.socket, _request: bytes) -> None:
            self._over.wait(10)
            raise ConnectionAbortedError

        return act

    def then(self, *behaviours: Behaviour) -> Vendor:
        self._behaviours += behaviours
        return self

    def __enter__(self) -> Vendor:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(peer,), daemon=True).start()

    def _converse(self, peer: socket.socket) -> None:
        with peer:
            while request := self._read(peer):
                self.requests.append(request)
                act = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
                try:
                    act(peer, request)
                except OSError:
                    return

    @staticmethod
    def _read(peer: socket.socket) -> bytes:
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                chunk = peer.recv(65536)
                if not chunk:
                    return b""
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            length = next((int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            while len(body) < length:
                body += peer.recv(65536)
        except OSError:
            return b""
        return head + b"\r\n\r\n" + body
