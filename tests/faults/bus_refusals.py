"""How does a bus that answers 200 and takes only a part of it look to whoever calls it? microburst has no such answer, so it is made here.

    POST /_refuse {"times": 3, "taken": false}

The next ``times`` calls of PutEvents are answered with ``FailedEntryCount`` > 0. ``taken`` false: nothing was passed on and every entry is
refused. True: all was passed on, and the last entry is said to have been refused: what is sent again then comes twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REFUSED = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
LEFT = web.AppKey("left", dict)


def with_refusals(app: web.Application) -> web.Application:
    app[LEFT] = {"times": 0, "taken": False, "met": 0}
    app.middlewares.insert(0, _refuse)
    return app


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    left = request.app[LEFT]
    if request.path == "/_refuse":
        if request.method == "POST":
            left.update(await request.json(), met=0)
        return web.json_response(left)
    if not left["times"] or not request.headers.get("X-Amz-Target", "").endswith(".PutEvents"):
        return await handler(request)
    left.update(times=left["times"] - 1, met=left["met"] + 1)
    entries = [{"EventId": f"taken-{number}"} for number, _ in enumerate((await request.json())["Entries"])]
    if left["taken"]:
        await handler(request)
        answers = [*entries[:-1], _REFUSED]
    else:
        answers = [_REFUSED] * len(entries)
    return web.json_response({"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}, content_type="application/x-amz-json-1.1")
