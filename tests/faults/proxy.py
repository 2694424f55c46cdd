"""What stands between the functions and the engine: microburst, which refuses, delays, cuts and loses as AWS does.

    python -m tests.faults.proxy --port PORT --upstream ENGINE_URL

It differs from the ``microburst`` program in one thing: host and path are passed on as the function sent them. Both are part of what the
function signed; under ``--enforce-iam`` the engine checks that signature, and another host or another spelling of the path would be refused.
"""

from __future__ import annotations

import argparse
from typing import Any

from aiohttp import web
from microburst.app import make_app
from microburst.core.pipeline import Microburst
from microburst.forward import Upstream
from yarl import URL

from tests.faults.bus_refusals import with_refusals

HOST = "127.0.0.1"


class SignedUpstream(Upstream):
    """Forwards what was signed as it was signed."""

    async def start(self) -> None:
        await super().start()
        self.session = Verbatim(self.session)  # type: ignore[assignment]

    def _outbound_headers(self, request: web.Request) -> dict[str, str]:
        return {**super()._outbound_headers(request), "host": request.headers["Host"]}


class Verbatim:
    """A session that does not spell the path anew (%3A would become a colon)."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, url: str, **arguments: Any) -> Any:
        return self._session.request(method, URL(url, encoded=True), **arguments)

    async def close(self) -> None:
        await self._session.close()


def application(upstream: str) -> web.Application:
    made = Microburst(upstream, resign=False, fired_capacity=50_000)
    made.upstream = SignedUpstream(upstream, stats=made.stats)
    return with_refusals(make_app(made))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    wanted = parser.parse_args()
    web.run_app(application(wanted.upstream), host=HOST, port=wanted.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
