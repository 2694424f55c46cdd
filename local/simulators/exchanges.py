"""What did the vendor see and answer? One line of JSON for each API exchange and each webhook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.simulators import exact_json

NEGATIVE_CONTROL = "x-negative-control"
"""A request with this header is a test's deliberate rubbish and is not recorded."""

_SECRET_HEADERS = {"authorization", "x-shopify-access-token", "api-key", "x-api-key"}


class ExchangeRecorder:
    """Appends to the exchanges file, in the line format of the contract checker; without a file it records nothing."""

    def __init__(self, vendor: str, exchanges_file: str | None) -> None:
        self._vendor = vendor
        self._descriptor: int | None = None
        if exchanges_file:
            Path(exchanges_file).parent.mkdir(parents=True, exist_ok=True)
            # Several simulators append to one file: a single O_APPEND write per line keeps lines whole.
            self._descriptor = os.open(exchanges_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def api(
        self,
        *,
        method: str,
        target: str,
        request_headers: Mapping[str, str],
        request_body: Any,
        status: int,
        response_headers: Mapping[str, str],
        response_body: Any,
    ) -> None:
        """Record one answered request. `target` is the path with its query, as sent; bodies are JSON values or None."""
        if NEGATIVE_CONTROL in request_headers:
            return
        self._append(
            {
                "vendor": self._vendor,
                "kind": "api",
                "method": method,
                "path": target,
                "request_headers": _without_secrets(request_headers),
                "request_body": request_body,
                "status": status,
                "response_headers": dict(response_headers),
                "response_body": response_body,
            }
        )

    def webhook(self, *, topic: str, headers: Mapping[str, str], body: Any) -> None:
        self._append({"vendor": self._vendor, "kind": "webhook", "topic": topic, "headers": dict(headers), "body": body})

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: dict[str, Any]) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, (exact_json.dumps(line) + "\n").encode())


def _without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}
