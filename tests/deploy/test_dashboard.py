"""Dashboard and alerts: they ask for metrics, labels and values that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.manifests import DEPLOY, read_documents

DASHBOARD = json.loads((DEPLOY / "grafana" / "authapi-dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in read_documents(DEPLOY / "prometheus" / "alerts.yaml")[0]["groups"]
    for rule in group["rules"]
]
OPERATIONS = DEPLOY.parent / "docs" / "operations.md"
# What Prometheus itself adds.
FOREIGN_LABELS = {"job", "instance", "le"}


def panel_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


EXPRESSIONS = [*panel_expressions(), *(rule["expr"] for rule in RULES)]


@pytest.fixture
async def offered(client: httpx.AsyncClient) -> dict[str, set[str]]:
    """The labels of every series that the service has, by its name."""
    await client.get("/health/live")
    text = (await client.get("/metrics")).text
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


class TestExpressions:
    async def test_they_ask_for_metrics_that_exist(self, offered: dict[str, set[str]]) -> None:
        asked = {name for text in EXPRESSIONS for name in re.findall(r"authapi_\w+", text)}
        assert asked - offered.keys() == set()

    async def test_nothing_is_measured_that_nobody_looks_at(self, offered: dict[str, set[str]]) -> None:
        def family(name: str) -> str:
            return re.sub(r"_(bucket|sum|count)$", "", name)

        asked = {family(name) for text in EXPRESSIONS for name in re.findall(r"authapi_\w+", text)}
        assert {family(name) for name in offered if name.startswith("authapi_")} - asked == set()

    async def test_they_ask_for_labels_that_exist(self, offered: dict[str, set[str]]) -> None:
        for text in EXPRESSIONS:
            labels = FOREIGN_LABELS.union(
                *(offered[name] for name in re.findall(r"authapi_\w+", text)),
            )
            grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(",")}
            filtered = set(re.findall(r"(\w+)=~?\"", text))
            assert (grouped | filtered) - labels == set(), text

    @pytest.mark.parametrize("text", EXPRESSIONS)
    def test_brackets_are_closed(self, text: str) -> None:
        for opening, closing in ("()", "{}", "[]"):
            assert text.count(opening) == text.count(closing)

    def test_counters_are_never_shown_as_they_are(self) -> None:
        for text in EXPRESSIONS:
            for found in re.finditer(r"(rate|increase)?\(?authapi_\w+_(total|bucket)\b", text):
                assert found[1] or text.startswith("label_values"), f"{text}: a counter restarts at 0"


class TestAlerts:
    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
    def test_each_says_how_bad_and_what_it_means(self, rule: dict[str, Any]) -> None:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in OPERATIONS.read_text(), "docs/operations.md says what to do"

    def test_every_metric_is_explained(self) -> None:
        documented = OPERATIONS.read_text()
        asked = {name for text in EXPRESSIONS for name in re.findall(r"authapi_\w+", text)}
        missing = {name for name in asked if re.sub(r"_bucket$", "", name) not in documented}
        assert missing == set()
