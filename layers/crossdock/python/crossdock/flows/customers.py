"""Which system knows an account, and under what name? A new account is usable everywhere, or it is named where it is missing."""

from __future__ import annotations

import json
from typing import Any

from crossdock.domain.customer import CreditStanding
from crossdock.domain.model import rfc3339
from crossdock.flows.services import Services


def heard(account: str, standing: CreditStanding | None, services: Services) -> None:
    """What the ERP has just said of the account (None: it does not know it), kept for whoever asks without asking the ERP."""
    told = {"standing": standing.as_json() if standing else None, "as_of": rfc3339(services.clock.now())}
    services.cursors.put(f"customer#{account}", json.dumps(told, sort_keys=True))


def shown(account: str, services: Services) -> dict[str, Any] | None:
    """Its names per connection, what the ERP last said of it, and where it is missing. None: no connection and no ERP has ever named it."""
    tables = services.spec.cross_references
    names = {connection: sorted(name for name, ours in table.items() if ours == account) for connection, table in tables.customers.items()}
    default_of = sorted(connection for connection, ours in tables.default_accounts.items() if ours == account)
    kept = services.cursors.get(f"customer#{account}")
    told: dict[str, Any] | None = json.loads(kept) if kept else None
    if not default_of and not any(names.values()) and (told is None or told["standing"] is None):
        return None
    missing = sorted(connection for connection, found in names.items() if not found and connection not in default_of)
    if told is not None and told["standing"] is None:
        missing.append(services.spec.erp)
    return {
        "account": account,
        "known_as": {connection: found for connection, found in names.items() if found},
        "default_of": default_of,
        "erp": told["standing"] if told else None,
        "erp_as_of": told["as_of"] if told else None,
        "missing_in": missing,
        "status": "partial" if missing else "usable" if told else "not_yet_checked",
    }
