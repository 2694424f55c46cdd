"""Work queue: facts from the bus and requests of the workflows."""

from __future__ import annotations

from crossdock import batches
from crossdock.domain.stage import QueueName
from crossdock.flows import work

handler = batches.queue_handler(QueueName.WORK, work.apply)
