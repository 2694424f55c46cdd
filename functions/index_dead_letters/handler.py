"""Every minute: no message in a dead-letter queue without its exception record."""

from __future__ import annotations

from crossdock import bootstrap, edge
from crossdock.domain.stage import QueueName
from crossdock.flows.dead_letters import index

handler = edge.function_handler(
    lambda event, services: {"outcome": "indexed", **{queue.value: index(queue, letters=bootstrap.function_dead_letters(), services=services) for queue in QueueName}}
)
