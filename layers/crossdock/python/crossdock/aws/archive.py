"""How are raw bytes kept for good?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crossdock.aws.failure import error_code
from crossdock.domain.errors import RetryLater

if TYPE_CHECKING:
    from crossdock.aws.clients import ServiceClients


class S3Archive:
    """Implements ``ports.Archive`` in the tenant's versioned, locked bucket."""

    def __init__(self, clients: ServiceClients, bucket: str) -> None:
        self._clients = clients
        self._bucket = bucket

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> None:
        self._clients.s3.put_object(Bucket=self._bucket, Key=key, Body=body, Metadata=dict(metadata), ContentType="application/octet-stream")

    def get(self, key: str) -> tuple[bytes, dict[str, str]]:
        try:
            found = self._clients.s3.get_object(Bucket=self._bucket, Key=key)
        except Exception as error:
            if error_code(error) in ("NoSuchKey", "404"):
                raise RetryLater("ARCHIVE_MISSING", f"the archive has no {key} (yet)", remedy="the sender's retry stores it again") from error
            raise
        return found["Body"].read(), dict(found.get("Metadata", {}))
