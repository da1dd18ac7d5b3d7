"""Schemas of the two kinds that Kubernetes does not define itself, as far as our manifests use them.

Stricter than their owners': a field that we do not use yet is refused like one that does not exist, and whoever
adds it looks it up first. After the Prometheus operator's ServiceMonitor v1 and kustomize's Kustomization v1beta1.
"""

from typing import Any

_LABELS = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
# Go's way of writing 90 seconds: "1m30s". The operator knows no fractions.
_DURATION = {
    "type": "string",
    "pattern": r"^(?=.)([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
}


def _strict(required: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | optional,
        "required": [*required],
        "additionalProperties": False,
    }


SERVICE_MONITOR = _strict(
    {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": _strict({"name": {"type": "string"}}, namespace={"type": "string"}, labels=_LABELS),
        "spec": _strict(
            {
                "selector": _strict({"matchLabels": _LABELS}),
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": _strict(
                        # The name of a port of the Service; numbers belong into `targetPort`.
                        {"port": {"type": "string"}},
                        path={"type": "string", "pattern": "^/"},
                        interval=_DURATION,
                        scrapeTimeout=_DURATION,
                    ),
                },
            }
        ),
    }
)

KUSTOMIZATION = _strict(
    {
        "apiVersion": {"const": "kustomize.config.k8s.io/v1beta1"},
        "kind": {"const": "Kustomization"},
        "resources": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "uniqueItems": True,
        },
    },
    namespace={"type": "string"},
    images={
        "type": "array",
        "items": _strict(
            {"name": {"type": "string"}},
            newName={"type": "string"},
            # YAML would read 1.10 as a number.
            newTag={"type": "string"},
            digest={"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        ),
    },
)
