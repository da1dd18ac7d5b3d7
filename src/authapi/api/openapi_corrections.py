"""What FastAPI writes into the OpenAPI document otherwise than it is answered, put right."""

from copy import deepcopy
from typing import Any

_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def corrected(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the OpenAPI document without FastAPI's own 422 and with `data: null` in failures.

    FastAPI adds that 422 where a route names none: the OAuth2 routes answer 400 instead (RFC 6749 section 5.2).
    """
    document = deepcopy(schema)
    for path_item in document.get("paths", {}).values():
        for operation in path_item.values():
            # A path item also holds `summary`, `servers` and `parameters`, which are no operations.
            if isinstance(operation, dict):
                _correct_responses(operation["responses"])
    for name in _FASTAPIS_OWN:
        document.get("components", {}).get("schemas", {}).pop(name, None)
    return document


def _correct_responses(responses: dict[str, Any]) -> None:
    for status, response in list(responses.items()):
        content = response.get("content", {}).get("application/json", {})
        if content.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
            del responses[status]
        for example in content.get("examples", {}).values():
            if example["value"].get("success") is False:
                # FastAPI drops every null.
                example["value"] = {"success": False, "message": "", "data": None} | example["value"]
