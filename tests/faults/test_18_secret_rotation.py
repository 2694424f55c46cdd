"""The webhook secret is changed in mid-traffic: is no valid message refused, and no old signature believed for ever?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta

import pytest

from local.simulators import exact_json
from tests.faults.system import Faulty
from tests.scenarios.system import eventually


def _signed(secret: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


@pytest.mark.fault(18, "secret rotated in mid-traffic")
def test_old_and_new_signatures_count_while_they_overlap_and_the_old_no_longer(faulty: Faulty) -> None:
    old = faulty.acme.webhooks["storefront"]["secret"]
    documents = [faulty.unsent([("AC-TAP-PTF", 1)]) for _ in range(6)]
    fresh = old
    try:
        for number, document in enumerate(documents):
            if number == 2:
                fresh = str(faulty.acme.cli("secrets", "rotate", "--connection", "storefront")["webhook_secret"])
                time.sleep(6)  # until the vendor has been given it: the function reads the secret at most every five seconds
            for secret in (old, fresh) if number >= 2 else (old,):
                answer = faulty.send("orders/create", document, event_id=f"rotation-{document['id']}", signature=_signed(secret, exact_json.dumps(document).encode()))
                assert answer is not None and answer.status_code == 200, f"a valid signature was refused: {answer}"
        for document in documents:
            faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=150)
        _end_the_overlap(faulty)
        body = exact_json.dumps(documents[0]).encode()
        # The function keeps what it has read for a while: within that time of the end, and not later, the old one is refused.

        def is_refused() -> bool:
            return faulty.acme.shopify("orders/create", None, raw=body, event_id="after-the-end", signature=_signed(old, body)).status_code == 401

        eventually(is_refused, "the old signature is refused", within=150, every=5)
        again = [faulty.acme.shopify("orders/create", None, raw=body, event_id=f"after-{number}", signature=_signed(old, body)).status_code for number in range(10)]
        assert again == [401] * 10
        assert faulty.acme.shopify("orders/updated", None, raw=body, event_id="after-new", signature=_signed(fresh, body)).status_code == 200
    finally:
        _restore(faulty, old)
    faulty.did("6 orders over a rotation, old and new signatures interleaved: 0 refused; after the overlap: 10 of 10 old ones refused")


def _secret(faulty: Faulty) -> tuple[str, dict[str, dict[str, str]]]:
    arn = faulty.outputs()["SecretArn"]
    return arn, json.loads(faulty.aws("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])


def _end_the_overlap(faulty: Faulty) -> None:
    """A day and a second have passed since the rotation."""
    arn, fields = _secret(faulty)
    at = datetime.fromisoformat(fields["storefront"]["rotated_at"]) - timedelta(hours=24, seconds=1)
    fields["storefront"]["rotated_at"] = at.isoformat()
    faulty.aws("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps(fields))


def _restore(faulty: Faulty, old: str) -> None:
    arn, fields = _secret(faulty)
    kept = {name: value for name, value in fields["storefront"].items() if name not in ("webhook_secret_previous", "rotated_at")}
    fields["storefront"] = {**kept, "webhook_secret": old}
    faulty.aws("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps(fields))
    body = b'{"id": 1}'

    def counts() -> bool:
        return faulty.acme.shopify("refunds/create", None, raw=body, event_id="restored", signature=_signed(old, body)).status_code == 200

    eventually(counts, "the first secret counts again", within=150, every=6)
