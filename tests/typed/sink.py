"""A sink for metrics."""

from collections.abc import Sequence

from zc.cimaa.metrics import Sample, Sink
from zc.cimaa.options import Option


class Lines(Sink):
    """Prints each sample."""

    options = (Option("prefix", "what each name starts with", default="cimaa"),)

    def write(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            name = f"{self.settings['prefix']}.{sample.check or 'agent'}.{sample.name}"
            print(name, f"{sample.value:g}", int(sample.time))


Lines({"prefix": "test"}).write([Sample(1.5, "web1", "host/load", "load1", 0.25)])
