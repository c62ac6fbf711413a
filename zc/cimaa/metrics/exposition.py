"""Figures as Prometheus has them: typed, in base units, each with its own help.  Pure.

Counters end in ``_total``, and names end in their unit: seconds, bytes, a ratio.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..faults import SEVERITIES, severity_level
from . import Sample

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily


class _Kind(NamedTuple):
    """How a figure is exposed."""

    name: str
    help: str
    family: type[CounterMetricFamily] | type[GaugeMetricFamily] = GaugeMetricFamily
    #: What a value is multiplied by, to be in the base unit.
    scale: float = 1


_FAULTS = "faults_"
_SEVERITY = _Kind("faults", "Current faults of the agent, by severity.")
# The agent's own figures, by the names of their samples; others are gauges.
_OWN = {
    "checks": _Kind("checks", "Checks that the agent runs."),
    "missed_ticks": _Kind(
        "missed_ticks", "Ticks that passed while the agent or its host was suspended.", CounterMetricFamily
    ),
    "store_calls": _Kind("store_calls", "Calls of the store.", CounterMetricFamily),
    "store_errors": _Kind("store_errors", "Calls of the store that failed.", CounterMetricFamily),
    "store_seconds": _Kind("store_seconds", "Time spent in calls of the store.", CounterMetricFamily),
    "last_report": _Kind("last_report_timestamp_seconds", "When the agent's last report was stored, since the epoch."),
    "alerts_sent": _Kind("alerts_sent", "Alerts that alerters passed on.", CounterMetricFamily),
    "alerts_failed": _Kind("alerts_failed", "Alerts that alerters failed to pass on.", CounterMetricFamily),
}

# What checks measured, by the units of their performance data, each with its size in the base unit.
_MEASURED = (
    (_Kind("seconds", "Durations that checks measured."), {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}),
    (_Kind("bytes", "Sizes that checks measured."), {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}),
    (_Kind("bytes", "Sizes that checks measured."), {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}),
    (_Kind("ratio", "Percentages that checks measured, as ratios from 0 to 1."), {"%": 0.01}),
    (_Kind("total", "Counters that checks read.", CounterMetricFamily), {"c": 1}),
)
_UNITS = {unit: kind._replace(scale=scale) for kind, units in _MEASURED for unit, scale in units.items()}
_VALUE = _Kind("value", "Other figures that checks measured, in the unit that a label names.")
_UNFIT = re.compile("[^a-zA-Z0-9_]")


def of_samples(samples: Iterable[Sample]) -> Iterable[Family]:
    """The metrics of an agent's figures.

    ``cimaa_agent_...`` are its own; ``cimaa_check_seconds``, ``_bytes``, ``_ratio``, ``_total``
    and ``_value`` are what its checks measured, labelled with the check and the figure's name.
    """
    families: dict[str, Family] = {}
    for sample in samples:
        kind, labels = _check(sample) if sample.check else _own(sample)
        _add(families, kind, {"agent": sample.agent, **labels}, sample.value * kind.scale)
    return families.values()


def of_store(
    faults: Iterable[tuple[str, int, bool]], heartbeats: Mapping[str, int], squelches: int
) -> Iterable[Family]:
    """The metrics of a store: as many as there are agents and severities, however many faults there are.

    ``faults`` has of each its agent, its severity, and whether it is squelched;
    ``heartbeats`` has when each agent reported last (seconds since the epoch).
    """
    counted = GaugeMetricFamily(
        "cimaa_faults",
        "Current faults, by agent, severity, and whether a squelch silences them.",
        labels=["agent", "severity", "squelched"],
    )
    counts = Counter(
        (agent, severity_level(severity), "yes" if squelched else "no") for agent, severity, squelched in faults
    )
    for labels, count in sorted(counts.items()):
        counted.add_metric(labels, count)
    beats = GaugeMetricFamily(
        "cimaa_heartbeat_timestamp_seconds", "When the agent reported last, since the epoch.", labels=["agent"]
    )
    for agent, updated in sorted(heartbeats.items()):
        beats.add_metric([agent], updated)
    return [counted, beats, GaugeMetricFamily("cimaa_squelches", "Squelches in force.", value=squelches)]


def text(families: Iterable[Family]) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Given(list(families)))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        return self._families


def _own(sample: Sample) -> tuple[_Kind, dict[str, str]]:
    severity = sample.name.removeprefix(_FAULTS)
    if severity in SEVERITIES and sample.name != severity:
        kind, labels = _SEVERITY, {"severity": severity}
    else:
        unknown = _Kind(_UNFIT.sub("_", sample.name), f"The agent's figure {sample.name}.")
        kind, labels = _OWN.get(sample.name, unknown), {}
    return kind._replace(name=f"cimaa_agent_{kind.name}"), labels


def _check(sample: Sample) -> tuple[_Kind, dict[str, str]]:
    kind = _UNITS.get(sample.unit, _VALUE)
    labels = {"check": sample.check, "name": sample.name}
    return kind._replace(name=f"cimaa_check_{kind.name}"), labels | ({"unit": sample.unit} if kind is _VALUE else {})


def _add(families: dict[str, Family], kind: _Kind, labels: Mapping[str, str], value: float) -> None:
    if kind.name not in families:
        families[kind.name] = kind.family(kind.name, kind.help, labels=list(labels))
    families[kind.name].add_metric(list(labels.values()), value)
