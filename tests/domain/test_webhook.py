"""Are webhook contracts and deliveries refused when they could not mean anything?"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from crossdock.domain.delivery import Delivery
from crossdock.domain.webhook import SignatureScheme, WebhookContract

CONTRACT = WebhookContract(signature=SignatureScheme(scheme="hmac_sha256"), delivery_id_header="X-Id", answer_within_seconds=5)


def test_a_contract_comes_back_from_its_json() -> None:
    assert WebhookContract.from_json(asdict(CONTRACT)) == CONTRACT


@pytest.mark.parametrize("change", [{"answer_within_seconds": 0}, {"signature": {"scheme": "md5"}}, {"unknown": 1}, {"signature": {"scheme": "hmac_sha256", "unknown": 1}}])
def test_a_manifest_with_a_contract_that_means_nothing_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WebhookContract).validate_python({**asdict(CONTRACT), **change})


def test_a_delivery_needs_the_zone_of_its_time() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Delivery(delivery_id="d", connection="c", topic="t", body=b"", received_at=datetime(2026, 10, 5))  # noqa: DTZ001 - that is the point
    assert Delivery(delivery_id="d", connection="c", topic="t", body=b"", received_at=datetime(2026, 10, 5, tzinfo=UTC)).revision == 0
