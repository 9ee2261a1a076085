"""``python -m benchmarks``: run the export benchmark and print, or keep, its figures."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import export, machine


def main() -> None:
    """Run every size that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="indicators of each export")
    parser.add_argument("--output", type=Path, help="write the figures to this file, as JSON")
    arguments = parser.parse_args()
    results = []
    for size in arguments.sizes:
        result = export.measure(size)
        results.append(result)
        for name in ("first", "second"):
            run = result[name]
            print(
                f"{size:>9,} {name:<6} {run['indicators_per_second']:>7,} indicators/s  "
                f"{run['seconds']:>7.1f} s  peak {run['peak_rss_mb']:>6.1f} MB  "
                f"{run['write_requests']:>5} writes  cpu {run['cpu_seconds']:.1f} s",
                flush=True,
            )
    document = {"taken": datetime.now(UTC).date().isoformat(), "machine": machine.describe(), "export": results}
    if arguments.output:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    else:
        print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
