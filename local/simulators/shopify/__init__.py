"""What does a Shopify shop do when it is spoken to? The simulator of its Admin GraphQL API and webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import ValidationError

from local.simulators.server import Answer, Call, Config, Context, Simulator
from local.simulators.shopify.actions import Actions
from local.simulators.shopify.admin import PATH, AdminApi, order_gids, root_fields
from local.simulators.shopify.adoption import Adoption
from local.simulators.shopify.contract import Credentials, Seed
from local.simulators.shopify.shop import Document, Shop
from local.simulators.webhooks import Message

WEBHOOK_API_VERSION = "2026-07"


class ShopifySimulator(Simulator):
    """One shop. Credentials: access_token and shop_domain; the webhook secret is the app's client secret."""

    # Eight retries over four hours, further and further apart; at 60 s the first retry is scaled to 1 s.
    webhook_retry_seconds: ClassVar[tuple[float, ...]] = (60, 120, 300, 600, 1200, 2400, 3600, 6120)
    webhook_timeout_seconds: ClassVar[float] = 5.0

    def __init__(self, config: Config, ctx: Context) -> None:
        super().__init__(config, ctx)
        try:
            self._seed = Seed.model_validate(config.seed)
            self._credentials = Credentials.model_validate(config.credentials)
        except ValidationError as error:
            raise ValueError(f"shopify configuration: {error}") from error
        self.shop = Shop(ctx.store, ctx.clock, self._seed, self._credentials, self._emit)
        self._api = AdminApi(self.shop, self._credentials.access_token)
        self._adoption = Adoption(self.shop, config.connection, lambda: ctx.adopt)
        self.actions = Actions(self.shop).verbs()

    def seed(self, seed: dict[str, Any]) -> None:  # noqa: ARG002 - read and checked at construction
        self.shop.plant()

    def handle(self, call: Call) -> Answer:
        found = PATH.match(call.path)
        if found is None:
            return Answer(404, {"errors": "Not Found"})
        for global_id in order_gids(call) if self.ctx.adopt and self._api.knows(call) else ():
            self._adoption.adopt(global_id)
        answer = self._api.answer(call, found["version"])
        return Answer(answer.status, answer.body, {"x-request-id": str(uuid.uuid4()), **answer.headers}, answer.record)

    def operations(self, call: Call) -> list[str]:
        return root_fields(call)

    def error(self, status: int, detail: str) -> Answer:
        if status == 429:
            return Answer(429, {"errors": "Exceeded 2 calls per second for api client."}, {"retry-after": "2.0"})
        return Answer(status, {"errors": f"{detail} ({status})"})

    def snapshot(self) -> dict[str, Any]:
        shop = self.shop
        return {
            "shop": {"domain": shop.domain, "name": self._seed.name, "currency": self._seed.currency},
            "locations": shop.locations.values(),
            "variants": shop.variants.values(),
            "inventory_levels": shop.levels.values(),
            "customers": shop.customers.values(),
            "orders": shop.orders.values(),
            "fulfillment_orders": shop.fulfillment_orders.values(),
            "fulfillments": shop.fulfillments.values(),
            "refunds": shop.refunds.values(),
            "returns": shop.returns.values(),
            "transactions": shop.transactions.values(),
            "metafields": shop.metafields.values(),
            "idempotent_answers": shop.answers.values(),
            "throttle": self._api.bucket.status(self.ctx.clock.now()),
        }

    def _emit(self, topic: str, body: Document, *, regardless: bool = False) -> None:
        """Queue a webhook. Both ids stay the same over all attempts; the event id is the one of the fact itself. ``regardless``: of what is subscribed to."""
        webhook_id = str(uuid.uuid4())
        now = self.ctx.clock.now().astimezone(UTC)
        self.ctx.webhooks.send(
            topic,
            body,
            message_id=webhook_id,
            target=self.ctx.webhooks.target if regardless else None,
            headers={
                "X-Shopify-Topic": topic,
                "X-Shopify-Shop-Domain": self.shop.domain,
                "X-Shopify-API-Version": WEBHOOK_API_VERSION,
                "X-Shopify-Webhook-Id": webhook_id,
                "X-Shopify-Event-Id": str(uuid.uuid4()),
                "X-Shopify-Triggered-At": now.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
                "User-Agent": "Shopify-Captain-Hook",
            },
        )

    def sign_webhook(self, message: Message, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - no time in it
        """base64(HMAC-SHA256(client secret, raw body)): no time inside, so a retry bears the same signature."""
        digest = hmac.new(message.secret.encode(), message.body, hashlib.sha256).digest()
        return {"X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode()}


def create(config: Config, ctx: Context) -> Simulator:
    """Raises ValueError for credentials or a seed that make no shop."""
    return ShopifySimulator(config, ctx)
