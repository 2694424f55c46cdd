"""How does Business Central say no? Status, error code and message, in its own shape.

Codes: https://learn.microsoft.com/dynamics365/business-central/dev-itpro/webservices/dynamics-error-codes
"""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """The request is answered with an error and nothing was changed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message}}


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def read_only(field_name: str) -> Refused:
    return Refused(400, "BadRequest_InvalidOperation", f"Control '{field_name}' is read-only.")


def too_long(length: int, max_length: int, value: str) -> Refused:
    message = f"The length of the string is {length}, but it must be less than or equal to {max_length} characters."
    return Refused(400, "Application_StringExceededLength", f"{message} Value: {value}")


def dialog(message: str) -> Refused:
    """A rule of the application's own code."""
    return Refused(400, "Application_DialogException", message)


def field_check(message: str) -> Refused:
    """A field test of the application failed."""
    return Refused(400, "Application_FieldValidationException", message)


def no_such_relation(field_name: str, table: str, value: str, related: str) -> Refused:
    return Refused(
        400,
        "Internal_InvalidTableRelation",
        f"The field {field_name} of table {table} contains a value ({value}) that cannot be found in the related table ({related}).",
    )


def same_key(table: str, identification: str) -> Refused:
    message = f"The record in table {table} already exists. Identification fields and values: {identification}"
    return Refused(400, "Internal_EntityWithSameKeyExists", message)


def not_found(table: str, key: str) -> Refused:
    message = f"The {table} does not exist. Identification fields and values: SystemId='{{{key.upper()}}}'"
    return Refused(404, "Internal_RecordNotFound", message)


def no_such_segment(segment: str) -> Refused:
    return Refused(404, "BadRequest_ResourceNotFound", f"Resource not found for the segment '{segment}'.")


def no_such_company() -> Refused:
    return Refused(404, "Internal_CompanyNotFound", "Cannot process the request because the company cannot be found.")


def method_not_allowed(method: str, entity_set: str) -> Refused:
    return Refused(
        405,
        "BadRequest_MethodNotAllowed",
        f"'{method}' requests for '{entity_set}' of EdmType 'Entity' are not allowed within Microsoft Dynamics 365 Business Central OData web services.",
    )


def missing_concurrency_token() -> Refused:
    return Refused(
        400,
        "BadRequest_InvalidToken",
        "Could not validate the client concurrency token required by the service. Please provide a valid token in the client request.",
    )


def entity_changed() -> Refused:
    return Refused(409, "Request_EntityChanged", "Another user has already changed the record.")


def wrong_credentials() -> Refused:
    return Refused(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.")


BY_INJECTED_STATUS = {
    400: ("BadRequest", "Invalid Request Body"),
    401: ("Authentication_InvalidCredentials", "The server has rejected the client credentials."),
    403: ("Authorization_RequestDenied", "The caller has no permission for this resource."),
    404: ("Internal_RecordNotFound", "The record does not exist."),
    409: ("Request_EntityChanged", "Another user has already changed the record."),
    429: ("Application_TooManyRequests", "Too many requests reached. Actual (601). Maximum (600)."),
    500: ("Internal_ServerError", "An error occurred on the server."),
    503: ("Internal_TenantUnavailable", "The tenant is not accessible."),
    504: ("Internal_ServerError", "The request was canceled because it took too long."),
}
"""What a switched-on fault of a bare status looks like in this vendor's shape."""
