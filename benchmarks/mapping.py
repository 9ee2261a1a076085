"""What the mapping costs: ``python -m benchmarks.mapping [CORPUS]``.

Each figure is the median over pages of 1,000 indicators, in microseconds an indicator, of one core's time and without
reading the corpus. CORPUS is a file with one row of ThreatQ a line, packed or not.
"""

from __future__ import annotations

import gzip
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import orjson

from tqmisp.errors import ConfigError
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.identity import namespace
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.policy import MappingPolicy
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Mapped
from tqmisp.threatq.records import Lookups, to_indicators

CORPUS = Path(__file__).parent.parent / "tests" / "data" / "threatq-small.ndjson.gz"
PAGE = 1_000
TAG = b'{"name":'

POLICIES = {
    "defaults": MappingPolicy(),
    "without context": MappingPolicy(
        tlp=False, adversaries="off", malware="off", tags="off", sources="off", description=False, dates=False
    ),
    "everything as tags": MappingPolicy(adversaries="tag", malware="tag", tags="tag", sources="tag", score="tag"),
    "attributes and link": MappingPolicy(attribute_comments=("Reference",), attribute_tags=("Category",), link=True),
    "screen private_addresses": MappingPolicy(private_addresses="to_ids"),
    "screen short_values": MappingPolicy(short_values="to_ids"),
    "screen warninglists": MappingPolicy(warninglists="to_ids"),
    "guard max_tlp": MappingPolicy(max_tlp="AMBER"),
}


def read(corpus: Path) -> list[Indicator]:
    """The indicators of a corpus."""
    with gzip.open(corpus) if corpus.suffix == ".gz" else corpus.open("rb") as file:
        return to_indicators([orjson.loads(line) for line in file], Lookups())[0]


def measure(policy: MappingPolicy, indicators: list[Indicator]) -> tuple[float, list[Mapped[Attribute]]]:
    """Microseconds an indicator, and what was made."""
    mapper = IndicatorMapper(namespace("https://threatq.example"), policy, threatq_url="https://threatq.example")
    times, made = [], []
    for start in range(0, len(indicators), PAGE):
        page = indicators[start : start + PAGE]
        began = time.process_time_ns()
        made.append(mapper.map(page))
        times.append((time.process_time_ns() - began) / len(page) / 1_000)
    return statistics.median(times), made


def main() -> None:
    """Print a line for each policy, and what the defaults make of the corpus."""
    indicators = read(Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS)
    print(f"{len(indicators):,} indicators")
    for name, policy in POLICIES.items():
        try:
            micros, made = measure(policy, indicators)
        except ConfigError as error:
            print(f"{name:<26} {error}")
            continue
        print(f"{name:<26} {micros:6.2f} µs an indicator")
        if name == "defaults":
            report(made)


def report(made: list[Mapped[Attribute]]) -> None:
    """Print the balance of one pass."""
    attributes = [each for page in made for each in page.items]
    refusals = Counter(f"{each.kind} {each.code}" for page in made for each in page.refusals)
    spellings = {each.fold: set[bytes]() for each in attributes}
    for each in attributes:
        spellings[each.fold].add(each.uuid)
    distinct = len({each.uuid for each in attributes})
    print(f"  {len(attributes):,} attributes, {len(attributes) - distinct:,} of them merged")
    print(f"  {sum(len(uuids) - 1 for uuids in spellings.values()):,} twins that MISP would take for one")
    print(f"  refused: {dict(refusals)}")
    print(f"  rescued: {dict(Counter(rule for each in attributes for rule in each.rescued))}")
    tags = sum(each.payload.count(TAG) for each in attributes)
    print(f"  {tags / len(attributes):.2f} tags an attribute")


if __name__ == "__main__":
    main()
