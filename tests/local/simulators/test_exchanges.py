"""Is recorded exactly what a vendor saw, in the checker's format, and nothing secret or deliberate rubbish?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.simulators import exact_json
from tests.local.simulators.conftest import OpenShop, Receiver


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]


def test_an_answered_request_is_one_line(open_shop: OpenShop, tmp_path: Path) -> None:
    shop = open_shop()
    shop.call("POST", "/orders?dry=1", headers={"Authorization": "Bearer abc"}, json={"pieces": 1})

    assert lines(tmp_path) == [
        {
            "vendor": "corner_shop",
            "kind": "api",
            "method": "POST",
            "path": "/orders?dry=1",
            "request_headers": {"authorization": "***", "content-type": "application/json"},
            "request_body": {"pieces": 1},
            "status": 201,
            "response_headers": {},
            "response_body": {"id": 100, "status": "open", "pieces": 1},
        }
    ]


def test_a_webhook_is_recorded_once_over_all_its_attempts(open_shop: OpenShop, tmp_path: Path, receiver: Receiver) -> None:
    shop = open_shop(autopilot={"enabled": False})
    receiver.answers = [500]
    shop.ctx.webhooks.send("orders/created", {"id": 1})
    shop.run_due()
    shop.ctx.clock.advance(5)  # type: ignore[attr-defined]
    shop.run_due()

    assert [(line["kind"], line["topic"], line["body"]) for line in lines(tmp_path)] == [("webhook", "orders/created", {"id": 1})]


def test_a_body_that_is_no_json_is_recorded_as_text(open_shop: OpenShop, tmp_path: Path) -> None:
    shop = open_shop()
    shop.ctx.webhooks.send("orders/created", b"<xml/>")
    shop.run_due()
    shop.call("GET", "/orders/1", body=b"<xml/>")

    assert [line.get("body", line.get("request_body")) for line in lines(tmp_path)] == ["<xml/>", "<xml/>"]


@pytest.mark.parametrize(
    ("headers", "fault"),
    [({"X-Negative-Control": "1"}, None), ({}, {"status": 500})],
    ids=["deliberate rubbish", "injected status"],
)
def test_deliberate_rubbish_and_injected_faults_are_not_recorded(open_shop: OpenShop, tmp_path: Path, headers: dict[str, str], fault: object) -> None:
    shop = open_shop()
    if fault:
        shop.ctx.faults.add(fault)
    shop.call("GET", "/orders/1", headers=headers)

    assert lines(tmp_path) == []


def test_without_a_file_nothing_is_recorded(open_shop: OpenShop, tmp_path: Path) -> None:
    open_shop(exchanges_file=None).call("GET", "/orders/1")

    assert not (tmp_path / "exchanges.jsonl").exists()


@pytest.mark.parametrize("value", [float("nan"), object(), {"a": {1, 2}}])
def test_what_is_no_json_is_refused(value: object) -> None:
    if isinstance(value, float):
        with pytest.raises(ValueError, match="NaN"):
            exact_json.loads("NaN")
    else:
        with pytest.raises(TypeError, match="cannot be written"):
            exact_json.dumps(value)
