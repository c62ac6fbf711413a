"""Figures: what is passed on, and how each sink writes it."""

import asyncio
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.simulation import SimulatedClock, Simulation
from zc.cimaa import memory
from zc.cimaa.agent import plugins
from zc.cimaa.agent import publisher as publisher
from zc.cimaa.agent.publisher import Publisher
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.config import Config
from zc.cimaa.errors import ConfigurationError
from zc.cimaa.metrics import Sample, Sink, exposition, prometheus, statsd
from zc.cimaa.metrics.log import Sink as Log
from zc.cimaa.outcomes import Finished

SAMPLES = [
    Sample(1.7e9, "web1", "", "store_calls", 12.0),
    Sample(1.7e9, "web1", "disks/var", "/var", 0.5, "%"),
    Sample(1.7e9, "web1", "disks/var", 'a "b"\\\n', -3.0, ""),
]


class Collecting(Sink):
    def __init__(self) -> None:
        super().__init__({})
        self.batches: list[list[Sample]] = []
        self.broken = False

    def write(self, samples: Sequence[Sample]) -> None:
        self.batches.append(list(samples))
        if self.broken:
            raise OSError("no route")


async def measures(clock: SimulatedClock, check: Check) -> Finished:
    return Finished(2, b"bad | n=7s", b"")


def run(tmp_path: Path, sink: Sink, count: int) -> Simulation:
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n[b]\ncommand = x\n", measures, tmp_path)
    sinks = Publisher({"s": sink}, simulation.clock)
    simulation.on_report = lambda: sinks.publish(simulation.daemon)
    simulation.run(count)
    return simulation


def test_a_severity_between_the_names_is_counted_in_the_next_lower_name(tmp_path: Path) -> None:
    async def work(clock: SimulatedClock, check: Check) -> Finished:
        faults = [{"name": str(severity), "severity": severity, "message": "bad"} for severity in (45, 35, 3, 60)]
        return Finished(0, json.dumps({"faults": faults}).encode(), b"")

    sink = Collecting()
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\nescalates = no\n", work, tmp_path)
    publisher = Publisher({"s": sink}, simulation.clock)
    simulation.on_report = lambda: publisher.publish(simulation.daemon)
    simulation.run(1)
    counts = {
        sample.name.removeprefix("faults_"): sample.value for sample in sink.batches[-1] if "faults_" in sample.name
    }
    assert counts == {"critical": 1, "error": 1, "warning": 1, "info": 0, "debug": 1}


def test_each_interval_the_checks_figures_and_the_agent_s_own(tmp_path: Path) -> None:
    sink = Collecting()
    simulation = run(tmp_path, sink, 3)
    assert len(sink.batches) == 3
    found = {(s.check, s.name): (s.value, s.unit) for s in sink.batches[-1]}
    assert found["f/a", "n"] == found["f/b", "n"] == (7, "s")
    assert found["", "faults_error"] == (2, "")
    assert found["", "checks"] == (2, "")
    assert found["", "store_calls"][0] >= 3
    assert found["", "store_errors"] == (0, "")
    assert 0 < simulation.clock.time() - found["", "last_report"][0] <= 60
    own = {name for check, name in found if not check}
    assert own >= {"store_seconds", "missed_ticks", "alerts_sent", "alerts_failed", "faults_critical"}


def test_a_sink_that_hangs_is_not_called_again_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    calls: list[int] = []

    class Hanging(Sink):
        def write(self, samples: Sequence[Sample]) -> None:
            calls.append(len(calls))
            go.wait(20)

    async def publish() -> None:
        daemon = Simulation(memory.DB(), "[a]\ncommand = x\n", measures, tmp_path).daemon
        publisher = Publisher({"s": Hanging({})}, SimulatedClock(), patience=0.01)
        for _ in range(3):
            publisher.publish(daemon)
            await publisher.finish()
        assert len(calls) == 1
        go.set()
        end = time.monotonic() + 20
        while len(calls) < 2 and time.monotonic() < end:
            publisher.publish(daemon)
            await publisher.finish()

    asyncio.run(publish())
    assert len(calls) == 2
    assert "metrics s: cannot write metrics: not done within 0.01 s" in caplog.text


def test_a_sink_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Collecting()
    sink.broken = True
    run(tmp_path, sink, 3)
    assert len(sink.batches) == 3
    assert "metrics s: cannot write metrics: no route" in caplog.text


class Watched(Collecting):
    """A sink that notes when it is started and closed, and may hang or have a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.hanging: threading.Event | None = None
        self.bug: Exception | None = None

    def start(self) -> None:
        self.calls.append("start")
        if self.bug is not None:
            raise self.bug

    def close(self) -> None:
        self.calls.append("close")

    def write(self, samples: Sequence[Sample]) -> None:
        self.calls.append("write")
        if self.hanging is not None:
            self.hanging.wait(30)


def test_sinks_that_are_added_are_started_and_those_that_go_are_closed() -> None:
    old, stays, new = Watched(), Watched(), Watched()
    publisher = Publisher({"old": old, "stays": stays}, SimulatedClock())
    publisher.start()
    asyncio.run(publisher.replace({"stays": stays, "new": new}))
    assert (old.calls, stays.calls, new.calls) == (["start", "close"], ["start"], ["start"])
    asyncio.run(publisher.close())
    assert (old.calls, stays.calls, new.calls) == (["start", "close"], ["start", "close"], ["start", "close"])


def test_an_added_sink_that_cannot_start_is_logged_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", measures, tmp_path)
    sink, sinks = Watched(), Publisher({}, simulation.clock)
    sink.bug = ConfigurationError("port: in use")

    def at_tick(tick: int) -> None:
        sink.bug = None

    async def go() -> None:
        await sinks.replace({"s": sink})
        simulation.on_tick = at_tick
        simulation.on_report = lambda: sinks.publish(simulation.daemon)
        await simulation.daemon.run(1)
        await sinks.finish()

    asyncio.run(go())
    assert "metrics s: cannot start: port: in use" in caplog.text
    assert sink.calls == ["start", "start", "write"]


def test_a_sink_that_hangs_is_not_called_again_until_it_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", measures, tmp_path)
    sink = Watched()
    sink.hanging = threading.Event()
    sinks = Publisher({"s": sink}, simulation.clock, patience=0.05)
    simulation.on_report = lambda: sinks.publish(simulation.daemon)
    seen: list[int] = []
    simulation.at_ticks(at4=lambda: seen.append(sink.calls.count("write")), at5=sink.hanging.set)
    simulation.run(8)
    assert seen == [1]
    assert sink.calls.count("write") > 1
    assert "metrics s: cannot write metrics: not done within 0.05 s" in caplog.text


def test_sinks_that_hang_are_closed_together(tmp_path: Path) -> None:
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", measures, tmp_path)
    hanging = threading.Event()
    found = {f"s{n}": Watched() for n in range(20)}
    for sink in found.values():
        sink.hanging = hanging
    sinks = Publisher(found, simulation.clock, patience=0.5)

    async def go() -> float:
        simulation.on_report = lambda: sinks.publish(simulation.daemon)
        await simulation.daemon.run(1)
        start = time.monotonic()
        await sinks.close()
        return time.monotonic() - start

    try:
        assert asyncio.run(go()) < 5
    finally:
        hanging.set()
    assert all(sink.calls == ["start", "write", "close"] for sink in found.values())


def test_a_bug_in_a_sink_is_logged_with_its_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Watched()
    sink.bug = KeyError("x")
    run(tmp_path, sink, 1)
    assert "Traceback" in caplog.text
    assert "raise self.bug" in caplog.text


def test_figures_are_there_before_anything_ran(tmp_path: Path) -> None:
    simulation = Simulation(memory.DB(), "[a]\ncommand = x\n", measures, tmp_path)
    assert all(sample.check == "" for sample in publisher.samples(simulation.daemon, 0))


def test_the_log_is_lines_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = Log({"path": str(tmp_path / "log")})
    sink.write(SAMPLES)
    sink.write(SAMPLES[:1])
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == [sample._asdict() for sample in [*SAMPLES, SAMPLES[0]]]
    Log({"path": None}).write(SAMPLES)
    assert len(capsys.readouterr().out.splitlines()) == 3


def prometheus_sink(**settings: Any) -> prometheus.Sink:
    return prometheus.Sink({"path": None, "port": None, "address": "127.0.0.1"} | settings)


def figures(text: str) -> dict[tuple[str, ...], float]:
    """What Prometheus' own parser finds: the values by name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


FIGURES = {
    ("cimaa_agent_store_calls_total", "web1"): 12.0,
    ("cimaa_check_ratio", "web1", "disks/var", "/var"): 0.005,
    ("cimaa_check_value", "web1", "disks/var", 'a "b"\\\n', ""): -3.0,
}


def exposed(*samples: Sample) -> dict[str, tuple[str, str, dict[tuple[str, ...], float]]]:
    """What Prometheus' own parser reads: type, help, and values by labels, by the family's name."""
    written = exposition.text(exposition.of_samples(samples)).decode()
    return {
        family.name: (family.type, family.documentation, {tuple(s.labels.values()): s.value for s in family.samples})
        for family in text_string_to_metric_families(written)
    }


def test_prometheus_gets_types_units_and_a_help_for_each(tmp_path: Path) -> None:
    simulation = run(tmp_path, Collecting(), 3)
    found = exposed(*publisher.samples(simulation.daemon, 0))
    counters = {name for name, (kind, _, _) in found.items() if kind == "counter"}
    assert counters == {
        f"cimaa_agent_{name}"
        for name in ("missed_ticks", "store_calls", "store_errors", "store_seconds", "alerts_sent", "alerts_failed")
    }
    assert {kind for kind, _, _ in found.values()} == {"counter", "gauge"}
    assert {"cimaa_agent_last_report_timestamp_seconds", "cimaa_check_seconds"} <= found.keys()
    assert found["cimaa_agent_faults"][2]["web1", "error"] == 2
    helps = [text for _, text, _ in found.values()]
    assert len(set(helps)) == len(helps)
    assert not [text for text in helps if "The agent's metric" in text]


@pytest.mark.parametrize(
    ("unit", "value", "name", "exposed_value"),
    [
        ("s", 2, "cimaa_check_seconds", 2),
        ("ms", 250, "cimaa_check_seconds", 0.25),
        ("us", 10, "cimaa_check_seconds", 1e-5),
        ("%", 50, "cimaa_check_ratio", 0.5),
        ("B", 7, "cimaa_check_bytes", 7),
        ("KB", 2, "cimaa_check_bytes", 2048),
        ("MiB", 1, "cimaa_check_bytes", 2**20),
        ("c", 9, "cimaa_check", 9),
        ("", 3, "cimaa_check_value", 3),
        ("requests", 3, "cimaa_check_value", 3),
    ],
)
def test_what_checks_measured_is_in_base_units(unit: str, value: float, name: str, exposed_value: float) -> None:
    ((found, (kind, _, values)),) = exposed(Sample(0, "web1", "f/s", "n", value, unit)).items()
    assert (found, kind) == (name, "counter" if unit == "c" else "gauge")
    assert list(values.values()) == [pytest.approx(exposed_value)]


def test_a_figure_that_is_new_has_a_name_and_a_help() -> None:
    assert exposed(Sample(0, "web1", "", "odd figure", 1)) == {
        "cimaa_agent_odd_figure": ("gauge", "The agent's metric odd figure.", {("web1",): 1})
    }


def test_the_prometheus_file_is_replaced_whole_and_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "cimaa.prom"
    sink = prometheus_sink(path=str(path))
    sink.write(SAMPLES)
    with path.open() as before:
        sink.write(SAMPLES[:1])
        assert figures(before.read()) == FIGURES
    assert figures(path.read_text()) == {("cimaa_agent_store_calls_total", "web1"): 12.0}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in tmp_path.iterdir()] == ["cimaa.prom"]


def test_a_prometheus_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "cimaa.prom").mkdir()
    with pytest.raises(OSError, match="directory"):
        prometheus_sink(path=str(tmp_path / "cimaa.prom")).write(SAMPLES)
    assert [found.name for found in tmp_path.iterdir()] == ["cimaa.prom"]


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text: str = answer.read().decode()
        return text


def test_prometheus_gets_the_latest_figures_by_http() -> None:
    sink = prometheus_sink(port=(port := free_port()))
    sink.start()
    try:
        assert figures(get(port)) == {}  # until there are any
        sink.write(SAMPLES[:1])
        assert figures(get(port)) == {("cimaa_agent_store_calls_total", "web1"): 12.0}
        sink.write(SAMPLES)
        assert figures(get(port)) == FIGURES
    finally:
        sink.close()
    with pytest.raises(OSError, match="refused"):
        get(port)


def test_a_slow_client_holds_up_no_other() -> None:
    sink = prometheus_sink(port=(port := free_port()))
    sink.start()
    try:
        with socket.create_connection(("127.0.0.1", port)):  # and never says anything
            sink.write(SAMPLES)
            assert figures(get(port)) == FIGURES
    finally:
        sink.close()


def test_a_port_that_is_in_use_is_told_at_once_and_taken_when_it_is_free(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        sink = prometheus_sink(port=(port := other.getsockname()[1]), path=str(tmp_path / "x.prom"))
        wrong = rf"\[metrics:a\] port: cannot listen on 127.0.0.1 port {port}: Address already in use"
        with pytest.raises(ConfigurationError, match=wrong):
            Publisher({"a": sink}, SimulatedClock()).start()
    try:
        sink.write(SAMPLES)
        assert figures(get(port)) == FIGURES
    finally:
        sink.close()


def test_statsd_gets_gauges() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        port = server.getsockname()[1]
        statsd.Sink({"host": "127.0.0.1", "port": port, "prefix": "cimaa"}).write(SAMPLES)
        got = server.recv(65536).decode().splitlines()
    assert got == [
        "cimaa.web1.store_calls:12|g",
        "cimaa.web1.disks.var._var:0.5|g",
        "cimaa.web1.disks.var.a_b_:0|g",
        "cimaa.web1.disks.var.a_b_:-3|g",
    ]


def test_statsd_s_datagrams_are_small_and_lose_nothing() -> None:
    many = [Sample(0, "web1", "f/s", f"m{n}", n) for n in range(500)]
    found = list(statsd.datagrams("p", many))
    assert max(map(len, found)) <= 1400
    assert sum(len(each.splitlines()) for each in found) == 500
    assert all(re.fullmatch(rb"p\.web1\.f\.s\.m\d+:\d+\|g", line) for each in found for line in each.splitlines())


Configured = Callable[[str], dict[str, Any]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    def configured(text: str) -> dict[str, Any]:
        (tmp_path / "x.cfg").write_text(text)
        return plugins.sinks(Config.read(tmp_path / "x.cfg"))

    return configured


def test_sections_name_sinks(configured: Configured) -> None:
    found = configured(
        "[metrics:a]\nclass = log\n[metrics:b]\nclass = prometheus\npath = x\n[metrics:c]\nclass = statsd\n"
    )
    assert [type(sink).__module__.rpartition(".")[2] for sink in found.values()] == ["log", "prometheus", "statsd"]
    assert found["c"].settings == {"class": "statsd", "host": "localhost", "port": 8125, "prefix": "cimaa"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[metrics:a]\n", r"\[metrics:a\] class: not given; choose one of: log, prometheus, statsd"),
        ("[metrics:a]\nclass = prometeus\n", "there is no metrics sink 'prometeus'; did you mean prometheus"),
        ("[metrics:a]\nclass = prometheus\n", r"\[metrics:a\] has neither path nor port: give one, or both"),
        (
            "[metrics:a]\nclass = prometheus\nport = 0\n",
            r"\[metrics:a\] port .*'0' is not a port: ports are 1 to 65535",
        ),
        ("[metrics:a]\nclass = statsd\nport = x\n", r"\[metrics:a\] port .*not a whole number"),
        ("[metrics:a]\nclass = statsd\nport = 99999\n", r"\[metrics:a\] port .*'99999' is not a port: ports are 1"),
        ("[metric:a]\nclass = log\n", r"unknown section \[metric:a\]; did you mean metrics:NAME"),
    ],
)
def test_what_is_wrong_is_named(configured: Configured, text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        configured(text)
