"""The Kubernetes manifests: valid, complete, careful, and describing a configuration that starts."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.deploy import foreign_schemas
from tests.deploy.manifests import DEPLOY, SECRETS, problems_in_production, read_documents, unknown_settings

FOLDER = DEPLOY / "kubernetes"
SCHEMAS = json.loads((Path(__file__).with_name("kubernetes-1.37.json")).read_text())
KUSTOMIZATION = read_documents(FOLDER / "kustomization.yaml")[0]
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.stem != "kustomization"
    for document in read_documents(path)
]


def find(kind: str, name: str = "authapi") -> dict[str, Any]:
    """The manifest of this kind and name."""
    (document,) = [
        document
        for parameter in DOCUMENTS
        for document in parameter.values
        if isinstance(document, dict)
        and document["kind"] == kind
        and document["metadata"]["name"] == name
        and "stringData" not in document
    ]
    return document


def validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    """What checks manifests of this kind."""
    foreign = {
        "ServiceMonitor": foreign_schemas.SERVICE_MONITOR,
        "Kustomization": foreign_schemas.KUSTOMIZATION,
    }
    own = {"$ref": f"#/$defs/{SCHEMAS['kinds'].get(kind)}", "$defs": SCHEMAS["$defs"]}
    return jsonschema_rs.Draft202012Validator(foreign.get(kind, own))


def pods() -> Iterator[dict[str, Any]]:
    yield find("Deployment")["spec"]["template"]
    yield find("Job", "authapi-migrate")["spec"]["template"]


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods():
        yield from pod["spec"]["containers"]


class TestSchema:
    @pytest.mark.parametrize("document", [*DOCUMENTS, pytest.param(KUSTOMIZATION, id="kustomization")])
    def test_every_manifest_is_valid(self, document: dict[str, Any]) -> None:
        errors = validator(document["kind"]).iter_errors(document)
        assert [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in errors] == []

    def test_the_schemas_refuse_a_misspelt_field(self) -> None:
        deployment, monitor = copy.deepcopy(find("Deployment")), copy.deepcopy(find("ServiceMonitor"))
        deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
        monitor["spec"]["endpoints"][0]["scrape_timeout"] = "5s"
        for document in (deployment, monitor, KUSTOMIZATION | {"resource": ["service.yaml"]}):
            assert not validator(document["kind"]).is_valid(document)

    @pytest.mark.parametrize("value", ["", "15", "1.5m", "5 s", 15])
    def test_a_duration_has_a_unit(self, value: object) -> None:
        monitor = copy.deepcopy(find("ServiceMonitor"))
        monitor["spec"]["endpoints"][0]["interval"] = value
        assert not validator("ServiceMonitor").is_valid(monitor)

    def test_the_monitor_finds_the_service(self) -> None:
        (endpoint,) = find("ServiceMonitor")["spec"]["endpoints"]
        service = find("Service")
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        wanted = find("ServiceMonitor")["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()

    def test_the_kustomization_has_all_but_the_secrets(self) -> None:
        files = {path.name for path in FOLDER.glob("*.yaml")}
        assert set(KUSTOMIZATION["resources"]) == files - {"kustomization.yaml", "secrets.example.yaml"}

    def test_the_image_is_pinned(self) -> None:
        (image,) = KUSTOMIZATION["images"]
        assert {container["image"] for container in containers()} == {image["name"]}
        assert image["newTag"] not in {"", "latest"}


class TestPods:
    def test_they_run_with_nothing_they_do_not_need(self) -> None:
        for pod in pods():
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["enableServiceLinks"] is False
            assert spec["serviceAccountName"] == find("ServiceAccount")["metadata"]["name"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            # The account that the image is made for.
            assert spec["securityContext"]["runAsUser"] == 10001
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/var/lib/authapi", "/tmp"}
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert find("ServiceAccount")["automountServiceAccountToken"] is False
        labels = find("Namespace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_probes_ask_paths_that_exist(self) -> None:
        (container,) = find("Deployment")["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        assert container["startupProbe"]["httpGet"]["path"] == "/health/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"

    def test_open_requests_are_finished_before_the_end(self) -> None:
        spec = find("Deployment")["spec"]["template"]["spec"]
        sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        # serve takes eight seconds, and mails under way another three.
        assert spec["terminationGracePeriodSeconds"] > sleep + 8 + 3

    def test_hashing_threads_are_what_was_asked_for(self) -> None:
        (container,) = find("Deployment")["spec"]["template"]["spec"]["containers"]
        data = find("ConfigMap", "authapi-settings")["data"]
        assert data["AUTHAPI_PASSWORD__HASH_WORKERS"] == container["resources"]["requests"]["cpu"]


class TestReferences:
    def test_selectors_find_the_pods(self) -> None:
        labels = find("Deployment")["spec"]["template"]["metadata"]["labels"]
        assert find("Deployment")["spec"]["selector"]["matchLabels"] == labels
        assert find("Service")["spec"]["selector"] == labels
        assert find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
        assert (
            find("ServiceMonitor")["spec"]["selector"]["matchLabels"] == find("Service")["metadata"]["labels"]
        )
        assert find("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "authapi"
        assert "replicas" not in find("Deployment")["spec"], "the autoscaler decides"

    def test_ports_are_named_alike_everywhere(self) -> None:
        (port,) = find("Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"]
        (service_port,) = find("Service")["spec"]["ports"]
        (endpoint,) = find("ServiceMonitor")["spec"]["endpoints"]
        backend = find("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert port["name"] == service_port["targetPort"] == "http"
        assert service_port["name"] == endpoint["port"] == backend["port"]["name"] == "http"
        assert endpoint["path"] == "/metrics"

    def test_secrets_are_named_and_never_given(self) -> None:
        offered = {
            (secret["metadata"]["name"], key): value
            for secret in read_documents(FOLDER / "secrets.example.yaml")
            for key, value in secret["stringData"].items()
        }
        assert set(offered.values()) == {""}
        wanted = {
            (reference["name"], reference["key"])
            for container in containers()
            for variable in container["env"]
            if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
        }
        assert wanted == offered.keys()

    def test_the_ingress_has_tls_for_its_host(self) -> None:
        ingress = find("Ingress")["spec"]
        hosts = [rule["host"] for rule in ingress["rules"]]
        assert [host for tls in ingress["tls"] for host in tls["hosts"]] == hosts
        url = find("ConfigMap", "authapi-settings")["data"]["AUTHAPI_PUBLIC_URL"]
        assert [f"https://{host}" for host in hosts] == [url]


class TestNetwork:
    def test_what_is_not_named_is_denied(self) -> None:
        assert find("NetworkPolicy", "default-deny")["spec"] == {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
        }

    def test_only_the_server_reaches_beyond_the_database(self) -> None:
        server = find("NetworkPolicy", "authapi")["spec"]
        both = find("NetworkPolicy", "authapi-to-database")["spec"]
        migration = list(pods())[1]["metadata"]["labels"]
        assert (
            migration["app.kubernetes.io/component"]
            != (server["podSelector"]["matchLabels"]["app.kubernetes.io/component"])
        )
        assert {port["port"] for rule in both["egress"] for port in rule["ports"]} == {53, 5432}
        assert {port["port"] for rule in server["egress"] for port in rule["ports"]} == {465, 587, 6379}

    def test_the_metadata_service_of_clouds_is_out_of_reach(self) -> None:
        blocks = [
            peer["ipBlock"]
            for rule in find("NetworkPolicy")["spec"]["egress"]
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        assert blocks
        assert all("169.254.0.0/16" in block["except"] for block in blocks)


class TestConfiguration:
    def variables(self) -> dict[str, str]:
        (container,) = find("Deployment")["spec"]["template"]["spec"]["containers"]
        values: dict[str, str] = dict(find("ConfigMap", "authapi-settings")["data"])
        return values | {variable["name"]: SECRETS[variable["name"]] for variable in container["env"]}

    def test_every_variable_is_a_setting(self) -> None:
        names = {variable["name"] for container in containers() for variable in container["env"]}
        assert unknown_settings(names | self.variables().keys()) == set()

    def test_production_starts_with_several_pods(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pods_at_most = find("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
        assert problems_in_production(monkeypatch, self.variables(), workers=pods_at_most) == []

    def test_a_database_with_its_usual_hundred_connections_is_enough(self) -> None:
        pool = int(find("ConfigMap", "authapi-settings")["data"]["AUTHAPI_DATABASE__POOL_SIZE"])
        pods_at_most = find("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
        # One more a pod follows the revocations, a rolling update adds a pod, the migration needs one.
        assert (pods_at_most + 1) * (pool + 1) + 1 <= 100
