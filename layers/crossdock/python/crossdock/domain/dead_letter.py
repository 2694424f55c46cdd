"""What is a message that used up its tries, and how is the queue of such messages worked?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from crossdock.domain.stage import QueueName


@dataclass(frozen=True)
class Letter:
    """One message in a dead-letter queue. ``receipt`` is the queue's handle for this look."""

    queue: QueueName
    body: str
    message_id: str
    receipt: str
    sent_at: datetime
    receive_count: int
    attributes: dict[str, str] = field(default_factory=dict)


class DeadLetters(Protocol):
    def look(self, queue: QueueName) -> Iterator[Letter]:
        """Every message once; it becomes visible to others again when the walk ends."""
        ...

    def delete(self, letter: Letter) -> None: ...

    def remove(self, queue: QueueName, match: Callable[[Letter], bool]) -> int: ...

    def count(self, queue: QueueName) -> int: ...
