"""The output of Nagios plugins, according to the Monitoring Plugins guidelines."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zc.cimaa.agent.rules import perfdata
from zc.cimaa.agent.rules.perfdata import Metric, metrics

SEVERAL_LINES = """\
DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968
/ 15272 MB (77%);
/boot 68 MB (69%);
/home 69357 MB (27%);
/var/log 819 MB (84%); | /boot=68MB;88;93;0;98
/home=69357MB;253404;253409;0;253414
/var/log=818MB;970;975;0;980
"""


def test_the_guidelines_own_example_of_several_lines() -> None:
    assert perfdata.first_line(SEVERAL_LINES) == "DISK OK - free space: / 3326 MB (56%);"
    assert metrics(SEVERAL_LINES) == [
        Metric("/", 2643, "MB"),
        Metric("/boot", 68, "MB"),
        Metric("/home", 69357, "MB"),
        Metric("/var/log", 818, "MB"),
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            "load1=0.010;5.000;9.000;0; load5=.5;;; load15=-1.5e-3",
            [("load1", 0.01), ("load5", 0.5), ("load15", -0.0015)],
        ),
        ("'/my disk'=5%;80;90 a=1", [("/my disk", 5), ("a", 1)]),
        ("'it''s'=1s", [("it's", 1)]),
        ("a=U b=2", [("b", 2)]),
        ("time=0.025566s;;;0.000000;10.000000 size=1270B;;;0", [("time", 0.025566), ("size", 1270)]),
        ("rta=0.058ms;200.000;500.000;0; pl=0%;40;80;;", [("rta", 0.058), ("pl", 0)]),
        ("a=1;@10:20;~:5;0;100", [("a", 1)]),
        ("a=1 a=2", [("a", 2)]),
        ("rubbish a=1 b=x =3 'c d'=?? 'open=1 e=5", [("a", 1), ("e", 5)]),
        ("a=1e999", []),
        ("''=7 a=1", [("a", 1)]),
        ("", []),
    ],
)
def test_performance_data(data: str, expected: list[tuple[str, float]]) -> None:
    assert [(metric.name, metric.value) for metric in metrics(f"OK | {data}")] == expected


@pytest.mark.parametrize(
    ("text", "unit"), [("1s", "s"), ("1us", "us"), ("1%", "%"), ("1KB", "KB"), ("1c", "c"), ("1", "")]
)
def test_units_are_as_the_plugin_wrote_them(text: str, unit: str) -> None:
    assert metrics(f"|a={text};;;") == [Metric("a", 1, unit)]


BEFORE, AFTER = "x" * 21, "z" * 21  # longer than the labels that are drawn, and so never the same


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20), st.floats(-1e15, 1e15))
@example("z", 0.5)
def test_whatever_a_quoted_label_is_called_it_is_read(label: str, value: float) -> None:
    if "|" in label or "\u2028" in label or "\u2029" in label:
        return
    quoted = label.replace("'", "''")
    found = metrics(f"OK | '{BEFORE}'=1 '{quoted}'={value!r}s;1;2 {AFTER}=3")
    assert found == [Metric(BEFORE, 1), Metric(label, value, "s"), Metric(AFTER, 3)]


@given(st.text(max_size=200))
def test_whatever_a_plugin_writes_the_metrics_are_numbers(output: str) -> None:
    assert all(math.isfinite(metric.value) and metric.name for metric in metrics(f"x | {output}"))
