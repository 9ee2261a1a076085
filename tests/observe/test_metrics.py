from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import anyio
import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import receipt
from tests.logs import capture_logs
from tqmisp.observe import metrics
from tqmisp.observe.metrics import SPECS, RunMetrics, earlier_success, published
from tqmisp.observe.options import MetricsOptions
from tqmisp.pipeline.progress import Progress

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {GaugeMetricFamily: "gauge", CounterMetricFamily: "counter"}


def _ended() -> RunMetrics:
    """The metrics of a run that is done and balanced."""
    run = RunMetrics("misp")
    run.progress = Progress(total=60_000, read=60_000, refused=263, settled=1_720, stored=58_017, sent=58_017)
    run.progress.waiting.sink = 10.1
    run.receipt = receipt()
    run.end("done")
    return run


def _shown(run: RunMetrics) -> dict[str, Metric]:
    registry = CollectorRegistry()
    registry.register(run)
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def _values(run: RunMetrics) -> dict[str, float]:
    """Each sample by its name and the labels beside the target, as a scraper reads it."""
    found: dict[str, float] = {}
    for family in _shown(run).values():
        for sample in family.samples:
            assert sample.labels["target"] == "misp"
            labels = ",".join(value for name, value in sorted(sample.labels.items()) if name != "target")
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_run_that_is_over() -> None:
    """Counters and receipt, with the reasons by code."""
    values = _values(_ended())
    assert values["tqmisp_run_running"] == 0
    assert values["tqmisp_run_indicators_read_total"] == 60_000
    assert values["tqmisp_run_waiting_seconds_total{misp}"] == 10.1
    assert values["tqmisp_run_outcome{done}"] == 1
    assert values["tqmisp_run_outcome{failed}"] == 0
    assert values["tqmisp_run_refusals{invalid_domain,rejected}"] == 40
    fates = [value for name, value in values.items() if name.startswith("tqmisp_run_indicators{")]
    assert sum(fates) == 60_000
    assert values["tqmisp_last_success_timestamp_seconds"] == values["tqmisp_run_ended_timestamp_seconds"]


def test_a_run_that_is_at_work() -> None:
    """What is not known yet is absent, not 0."""
    run = RunMetrics("misp")
    assert set(_values(run)) == {
        "tqmisp_run_running",
        "tqmisp_run_started_timestamp_seconds",
        "tqmisp_run_duration_seconds",
    }
    run.progress = Progress(read=5)
    values = _values(run)
    assert values["tqmisp_run_running"] == 1
    assert values["tqmisp_run_indicators_read_total"] == 5
    assert not {"tqmisp_run_selected_indicators", "tqmisp_run_balanced", "tqmisp_run_outcome{done}"} & set(values)


def test_a_run_that_failed_is_no_success() -> None:
    """Neither is one that does not balance; an earlier success stays."""
    failed, uneven = RunMetrics("misp", last_success=7.0), RunMetrics("misp")
    failed.end("failed")
    uneven.receipt = receipt()
    uneven.receipt.targets[0].balanced = False
    uneven.end("done")
    assert _values(failed)["tqmisp_last_success_timestamp_seconds"] == 7.0
    assert "tqmisp_last_success_timestamp_seconds" not in _values(uneven)
    assert _values(uneven)["tqmisp_run_balanced"] == 0


def test_every_metric_is_shown_and_documented() -> None:
    """Name, type, meaning and labels on the page are those of the code, and a run that is over has all of them."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|(.*?)\|$", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    documented = [(name, kind, meaning, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, meaning, labels in rows]
    assert documented == [(f"tqmisp_{spec.name}", WORDS[spec.kind], spec.help, spec.labels) for spec in SPECS]
    shown = _shown(_ended())
    assert set(shown) == {f"tqmisp_{spec.name.removesuffix('_total')}" for spec in SPECS}
    for spec in SPECS:
        family = shown[f"tqmisp_{spec.name.removesuffix('_total')}"]
        assert {frozenset(sample.labels) for sample in family.samples} == {frozenset(("target", *spec.labels))}


def _expressions(node: object) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "query"} and isinstance(value, str):
                yield value
            yield from _expressions(value)
    elif isinstance(node, list):
        for each in node:
            yield from _expressions(each)


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every name and label in it is one of ours, and almost every metric is in it; the alerts likewise."""
    dashboard = json.loads((DOCS / "grafana" / "tqmisp.json").read_text())
    alerts = re.findall(r"expr: (.*)", (DOCS / "metrics.md").read_text())
    assert len(alerts) == 3
    specs = {f"tqmisp_{spec.name}": spec for spec in SPECS}
    asked: set[str] = set()
    for query in [*_expressions(dashboard), *alerts]:
        names = re.findall(r"tqmisp_\w+", query)
        assert set(names) <= set(specs), query
        asked |= set(names)
        known = {"target"}.union(*(specs[name].labels for name in names))
        assert set(re.findall(r"(\w+)=~?\"", query)) <= known, query
    for panel in dashboard["panels"]:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            known = {"target"}.union(*(specs[name].labels for name in re.findall(r"tqmisp_\w+", target["expr"])))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, panel["title"]
    assert set(specs) - asked == {"tqmisp_run_ended_timestamp_seconds", "tqmisp_run_events", "tqmisp_run_requests"}


async def test_the_text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced as a whole while a run is at work and at its end; a success is remembered over a failure."""
    path = tmp_path / "tqmisp.prom"
    written = anyio.Event()

    def write(file: str, registry: CollectorRegistry) -> None:
        write_to_textfile(file, registry)
        anyio.from_thread.run_sync(written.set)

    monkeypatch.setattr(metrics, "write_to_textfile", write)
    options = MetricsOptions(textfile=str(path), interval=0.001)
    run = RunMetrics("misp")
    async with published(run, options):
        await written.wait()
        assert 'tqmisp_run_running{target="misp"} 1.0' in path.read_text()
        run.receipt = receipt()
        run.end("done")
    assert 'tqmisp_run_running{target="misp"} 0.0' in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["tqmisp.prom"]
    success = await anyio.to_thread.run_sync(earlier_success, path, "misp")
    assert success == run.last_success is not None
    assert await anyio.to_thread.run_sync(earlier_success, path, "another") is None
    failed = RunMetrics("misp")
    async with published(failed, MetricsOptions(textfile=str(path))):
        failed.end("failed")
    assert await anyio.to_thread.run_sync(earlier_success, path, "misp") == success


async def test_a_run_that_was_kept_out_leaves_the_file_to_the_other(tmp_path: Path) -> None:
    """Without an outcome, nothing is written."""
    path = tmp_path / "tqmisp.prom"
    path.write_text("of another\n")
    async with published(RunMetrics("misp"), MetricsOptions(textfile=str(path))):
        pass
    assert path.read_text() == "of another\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_the_port() -> None:
    """It answers on this machine for as long as the run is at work, and no longer."""
    port = _free_port()
    run = RunMetrics("misp")
    async with published(run, MetricsOptions(port=port)):
        run.progress = Progress(read=7)
        assert 'tqmisp_run_indicators_read_total{target="misp"} 7.0' in await anyio.to_thread.run_sync(_read, port)
    with pytest.raises(OSError, match="refused"):
        await anyio.to_thread.run_sync(_read, port)
    assert MetricsOptions().address == "127.0.0.1"


async def test_what_cannot_be_published_hinders_nothing(tmp_path: Path) -> None:
    """A port that is taken, a folder that is not there: the run goes on, and the log says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = MetricsOptions(port=taken.getsockname()[1], textfile=str(tmp_path / "absent" / "tqmisp.prom"))
        run = RunMetrics("misp")
        with capture_logs() as said:
            async with published(run, options):
                run.end("failed")
    assert [(each["event"], each["error"]) for each in said] == [
        ("metrics cannot be served", "Address already in use"),
        ("metrics cannot be written", "No such file or directory"),
    ]


async def test_an_error_is_not_buried() -> None:
    """The error of a run comes out as it was raised."""

    async def fail() -> None:
        async with published(RunMetrics("misp"), MetricsOptions()):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
