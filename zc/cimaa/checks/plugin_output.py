"""The results of a check as the output of a Nagios plugin.  Pure.

``DISK WARNING - / is 91 % full | /=91%;90;95;0;100``: the problems (or
the good result) on the first line, followed by the performance data.  The long output
has a line for each item.
"""

from collections.abc import Iterable, Sequence

from ..text import one_line
from .items import Item, Measurement
from .ranges import number
from .states import State, worst

#: The most problems, and noted items, on the first line.
_SHOWN = 5


def output(check: str, items: Sequence[Item], good: str, verbose: int = 0) -> tuple[State, str]:
    """The state and the output; ``good`` is the text for several items without a problem."""
    state = worst(item.state for item in items)
    bad = sorted((item for item in items if item.state is not State.OK), key=lambda item: item.state is not state)
    text = _first(bad, [item for item in items if item.noted]) or (items[0].message if len(items) == 1 else good)
    metrics = [metric for item in items for metric in item.metrics]
    lines = [line(check, state, text) + (f" | {performance_data(metrics)}" if metrics else "")]
    if verbose:
        lines += [f"{item.state.name}: {plain(item.message)}" for item in items]
    return state, "\n".join(lines)


def line(check: str, state: State, text: str) -> str:
    """The first line of an output."""
    return f"{check.upper()} {state.name} - {plain(text)}"


def performance_data(metrics: Iterable[Measurement]) -> str:
    """The metrics as performance data: ``'label'=value[UOM];[warn];[crit];[min];[max]``, separated by spaces."""
    return " ".join(map(_metric, metrics))


def plain(text: str) -> str:
    """The text on one line, with escapes for characters that Nagios or a terminal interprets."""
    return one_line(text, also="|")


def _metric(metric: Measurement) -> str:
    limits = (metric.thresholds.warning, metric.thresholds.critical)
    ends = (metric.minimum, metric.maximum)
    fields = [
        f"{_label(metric.label)}={number(metric.value)}{metric.unit}",
        *("" if limit is None else str(limit) for limit in limits),
        *("" if end is None else number(end) for end in ends),
    ]
    return ";".join(fields).rstrip(";")


def _label(label: str) -> str:
    """The label, in quotes if it needs them; equals signs and quotes, which are not allowed, are replaced."""
    text = plain(label).replace("=", "_").replace("'", "_")
    return text if text.split() == [text] else f"'{text}'"


def _first(bad: Sequence[Item], noted: Sequence[Item]) -> str:
    """The text of the first line: the problems, and the noted items; empty if there are none."""
    texts = [_joined([item.message for item in some]) for some in (bad, noted) if some]
    return "; ".join(texts) if bad or not noted else f"nothing to alert on, but noted: {texts[0]}"


def _joined(messages: Sequence[str]) -> str:
    text = "; ".join(messages[:_SHOWN])
    return f"{text}; and {len(messages) - _SHOWN} more" if len(messages) > _SHOWN else text
