"""The whole export, as an operator runs it: both simulators in one process, the exporter in another.

Each size runs twice on the same journal: the first run creates everything, the second finds nothing to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def measure(indicators: int) -> dict[str, Any]:
    """Export so many generated indicators, twice; give rates, and the memory of the exporter alone.

    Raises:
        RuntimeError: a run failed or did not balance.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tqmisp", "sandbox", "--indicators", str(indicators)]
        sandbox = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
        try:
            config = json.loads(sandbox.stdout.readline() if sandbox.stdout else b"{}")["config"]
            runs = [_run(config, Path(folder) / "state", "--full") for _ in range(2)]
        finally:
            sandbox.terminate()
            sandbox.wait()
    return {"indicators": indicators, "first": runs[0], "second": runs[1]}


def _run(config: str, state: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tqmisp", "run", "--config", config, "--state", str(state), "--json", *options]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([*command, "--no-progress"], stdout=out)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        out.seek(0)
        receipt = json.loads(out.read() or "{}")
    target = receipt["targets"][0] if receipt.get("targets") else {}
    if process.returncode != 0 or not target.get("balanced"):
        raise RuntimeError(f"the run ended with {process.returncode}: {json.dumps(receipt)[:2000]}")
    return {
        "seconds": round(seconds, 2),
        "read": target["read"],
        "created": target["created"],
        "updated": target["updated"],
        "unchanged": target["unchanged"],
        "write_requests": target["write_requests"],
        "indicators_per_second": round(target["read"] / receipt["seconds"]),
        "peak_rss_mb": round(usage.ru_maxrss / 1024, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds_waiting_for": target["seconds_waiting_for"],
    }
