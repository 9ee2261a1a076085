from __future__ import annotations

import pytest

COVERED: set[int] = set()
"""Numbers of the recordings that were played and found equal in this run."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of the recorded contract the simulated MISP keeps, and what is left out."""
    if not COVERED:
        return
    from tests.contract.preparations import LEFT_OUT  # noqa: PLC0415 - only when the contract was played
    from tests.contract.recordings import recordings  # noqa: PLC0415

    terminalreporter.section("MISP 2.5.1 recordings")
    terminalreporter.line(f"{len(COVERED)} of {len(recordings())} recorded exchanges are answered as recorded.")
    for number, reason in sorted(LEFT_OUT.items()):
        terminalreporter.line(f"left out {recordings()[number].title}: {reason}")
