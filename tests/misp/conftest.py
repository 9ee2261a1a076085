from __future__ import annotations

import pytest

PREDICTED: dict[str, int] = {}
"""Recorded verdicts on values that were predicted right in this run, by what they were."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the recorded verdicts on values we foresee."""
    if PREDICTED:
        terminalreporter.section("What MISP 2.5.1 made of values")
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(PREDICTED.items()))
        terminalreporter.line(f"{sum(PREDICTED.values())} recorded verdicts are predicted: {kinds}.")
