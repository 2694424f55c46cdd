"""How is a simulator, or any HTTP door of this machine, asked and told things from the command line?"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_TIMEOUT_S = 30.0
# Local addresses are never reached through a proxy.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON with exact numbers."""
        return json.loads(self.body, parse_float=Decimal)


class ControlFailed(RuntimeError):
    """A door that should have opened did not; the message says which and what it answered."""


def send(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """One request, whatever the status. Raises ControlFailed when there is no answer at all."""
    request = urllib.request.Request(url, data=body, method=method, headers={"content-type": "application/json", **(headers or {})})
    try:
        with _opener.open(request, timeout=_TIMEOUT_S) as answer:
            return Reply(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read())
    except (urllib.error.URLError, OSError) as error:
        raise ControlFailed(f"{method} {url}: no answer ({error})") from error


def get(base: str, path: str, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON that a GET answers. Raises ControlFailed for anything but 200."""
    return _read("GET", base + path, send("GET", base + path, headers=headers))


def post(base: str, path: str, value: object = None) -> Any:
    """The JSON that a POST answers. Raises ControlFailed unless it succeeds."""
    return _read("POST", base + path, send("POST", base + path, json.dumps(value if value is not None else {}).encode()))


def put(base: str, path: str, value: object) -> Any:
    """The JSON that a PUT answers. Raises ControlFailed unless it succeeds."""
    return _read("PUT", base + path, send("PUT", base + path, json.dumps(value).encode()))


def delete(base: str, path: str) -> Any:
    """The JSON that a DELETE answers. Raises ControlFailed unless it succeeds."""
    return _read("DELETE", base + path, send("DELETE", base + path))


def _read(method: str, url: str, reply: Reply) -> Any:
    if not 200 <= reply.status < 300:
        raise ControlFailed(f"{method} {url} answered {reply.status}: {reply.body[:500].decode(errors='replace')}")
    return reply.json()
