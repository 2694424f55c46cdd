"""What does the API itself answer when no function is reached? RFC 9457 problems in our words, never the vendor's."""

from __future__ import annotations

import json
from dataclasses import dataclass

from aws_cdk import aws_apigateway as apigateway


@dataclass(frozen=True)
class GatewayProblem:
    """One kind of refusal by the gateway. ``retry_after``: seconds a client should wait."""

    response_type: str
    status: int
    slug: str
    title: str
    detail: str
    retry_after: int | None = None

    def template(self) -> str:
        """The body; the correlation id is filled in by the gateway."""
        return json.dumps(
            {
                "type": f"urn:crossdock:problem:{self.slug}",
                "title": self.title,
                "status": self.status,
                "detail": self.detail,
                "correlation_id": "$context.requestId",
            }
        )

    def headers(self) -> dict[str, str]:
        """Header values as the gateway wants them: literals in single quotes, context variables bare."""
        headers = {"Content-Type": "'application/problem+json'", "X-Correlation-Id": "context.requestId", "Cache-Control": "'no-store'"}
        if self.retry_after is not None:
            headers["Retry-After"] = f"'{self.retry_after}'"
        return headers

    @property
    def kind(self) -> apigateway.ResponseType:
        return apigateway.ResponseType.of(self.response_type)


PROBLEMS = (
    GatewayProblem("UNAUTHORIZED", 401, "unauthorized", "Not authenticated", "The request carries no valid credentials."),
    GatewayProblem("ACCESS_DENIED", 403, "forbidden", "Not allowed", "These credentials do not allow this request."),
    GatewayProblem("INVALID_API_KEY", 403, "invalid-api-key", "API key missing or unknown", "Send a valid key in the header x-api-key."),
    # What the gateway calls a missing token is a path or method that does not exist: there is no other way to reach it here.
    GatewayProblem("MISSING_AUTHENTICATION_TOKEN", 404, "not-found", "Not found", "There is nothing at this path for this method."),
    GatewayProblem("RESOURCE_NOT_FOUND", 404, "not-found", "Not found", "There is nothing at this path for this method."),
    GatewayProblem("REQUEST_TOO_LARGE", 413, "too-large", "Body too large", "The body is larger than this interface accepts."),
    GatewayProblem("UNSUPPORTED_MEDIA_TYPE", 415, "unsupported-media-type", "Media type not supported", "Send the body with a supported Content-Type."),
    GatewayProblem("BAD_REQUEST_PARAMETERS", 400, "bad-request", "Bad request", "A required parameter is missing or malformed."),
    GatewayProblem("BAD_REQUEST_BODY", 400, "bad-request", "Bad request", "The body cannot be read."),
    GatewayProblem("THROTTLED", 429, "too-many-requests", "Too many requests", "The agreed rate is exceeded: slow down and send it again.", retry_after=1),
    GatewayProblem("QUOTA_EXCEEDED", 429, "quota-exceeded", "Monthly quota used up", "The agreed number of requests of this month is used up.", retry_after=3600),
    GatewayProblem("INTEGRATION_TIMEOUT", 504, "timeout", "No answer in time", "The request may have been done: ask for its state before sending it again.", retry_after=5),
    GatewayProblem("DEFAULT_4XX", 400, "bad-request", "Bad request", "The request cannot be served."),
    GatewayProblem("DEFAULT_5XX", 500, "internal-error", "Something went wrong here", "The failure is recorded; send the request again later.", retry_after=5),
)
