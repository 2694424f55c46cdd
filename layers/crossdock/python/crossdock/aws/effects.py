"""How is the effect ledger kept: one conditional write before a call, one after it?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from crossdock.aws.failure import condition_failed, response_of
from crossdock.aws.table import Item, StateTable, moment, number, packed, stamp, text, unpacked
from crossdock.domain.commands import Receipt
from crossdock.domain.effect import Effect, EffectState


def _effect(item: Item) -> Effect:
    return Effect(
        key=item["pk"]["S"].removeprefix("EFFECT#"),
        state=EffectState(item["state"]["S"]),
        attempt=int(item["attempt"]["N"]),
        order_id=item["order_id"]["S"] if "order_id" in item else None,
        intended_at=moment(item["intended_at"]["S"]),
        lease_until=moment(item["lease_until"]["S"]),
        receipt=Receipt.model_validate_json(unpacked(item["receipt"])) if "receipt" in item else None,
        error=item.get("last_error", {}).get("S", ""),
        settled_at=moment(item["settled_at"]["S"]) if "settled_at" in item else None,
    )


class DynamoEffects:
    """Implements ``ports.Effects``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def _update(self, key: str, expression: str, condition: str, values: dict[str, Any]) -> tuple[bool, Effect]:
        """(True, the effect as written) or (False, the effect as it stands)."""
        try:
            answer = self._table.client.update_item(
                TableName=self._table.name,
                Key={"pk": text(f"EFFECT#{key}"), "sk": text("EFFECT")},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Exception as error:
            if not condition_failed(error):
                raise
            standing = response_of(error).get("Item") or self._table.get(f"EFFECT#{key}", "EFFECT") or {}
            return False, _effect(standing)
        return True, _effect(answer["Attributes"])

    def begin(self, key: str, *, order_id: str | None, now: datetime, lease_seconds: int) -> tuple[bool, Effect]:
        return self._update(
            key,
            f"SET #state = :intended, intended_at = :now, lease_until = :lease{', order_id = :order' if order_id else ''} ADD attempt :one REMOVE last_error, settled_at",
            "attribute_not_exists(#state) OR #state = :failed",
            {
                ":intended": text(EffectState.INTENDED.value),
                ":failed": text(EffectState.FAILED.value),
                ":now": text(stamp(now)),
                ":lease": text(stamp(now + timedelta(seconds=lease_seconds))),
                **({":order": text(order_id)} if order_id else {}),
                ":one": number(1),
            },
        )

    def take_over(self, effect: Effect, *, now: datetime, lease_seconds: int) -> Effect | None:
        mine, standing = self._update(
            effect.key,
            "SET #state = :intended, lease_until = :lease ADD attempt :one",
            "attempt = :attempt AND (#state = :unknown OR (#state = :intended AND lease_until <= :now))",
            {
                ":intended": text(EffectState.INTENDED.value),
                ":unknown": text(EffectState.UNKNOWN.value),
                ":attempt": number(effect.attempt),
                ":now": text(stamp(now)),
                ":lease": text(stamp(now + timedelta(seconds=lease_seconds))),
                ":one": number(1),
            },
        )
        return standing if mine else None

    def confirm(self, effect: Effect, receipt: Receipt, *, now: datetime) -> Effect:
        # A worker that lost its lease and still got its answer is right about it: only a confirmed effect is never overwritten.
        return self._update(
            effect.key,
            "SET #state = :confirmed, receipt = :receipt, settled_at = :now",
            "#state <> :confirmed",
            {":confirmed": text(EffectState.CONFIRMED.value), ":receipt": packed(receipt.model_dump_json(exclude_none=True)), ":now": text(stamp(now))},
        )[1]

    def _settle(self, effect: Effect, state: EffectState, error: str, now: datetime) -> Effect:
        return self._update(
            effect.key,
            "SET #state = :state, last_error = :error, settled_at = :now",
            "attempt = :attempt AND #state = :intended",
            {
                ":state": text(state.value),
                ":error": text(error[:500]),
                ":now": text(stamp(now)),
                ":attempt": number(effect.attempt),
                ":intended": text(EffectState.INTENDED.value),
            },
        )[1]

    def mark_unknown(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        return self._settle(effect, EffectState.UNKNOWN, error, now)

    def fail(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        return self._settle(effect, EffectState.FAILED, error, now)

    def contradict(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        return self._update(
            effect.key,
            "SET #state = :unknown, last_error = :error, settled_at = :now",
            "attempt = :attempt AND #state = :confirmed",
            {
                ":unknown": text(EffectState.UNKNOWN.value),
                ":confirmed": text(EffectState.CONFIRMED.value),
                ":error": text(error[:500]),
                ":now": text(stamp(now)),
                ":attempt": number(effect.attempt),
            },
        )[1]

    def get(self, key: str) -> Effect | None:
        item = self._table.get(f"EFFECT#{key}", "EFFECT")
        return _effect(item) if item else None
