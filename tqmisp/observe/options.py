"""What an operator can set about being told of runs."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr  # masks itself in every repr and traceback


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOptions:
    """Numbers about runs, for Prometheus; docs/metrics.md lists them."""

    textfile: str | None = None
    """Write them to this file, whose name ends in .prom, for the textfile collector of node_exporter."""
    interval: float = 15.0
    """Seconds between two writings while a run is at work; the last one is at its end."""
    port: int | None = None
    """Serve them on this port while a run is at work."""
    address: str = "127.0.0.1"
    """The address that the port belongs to; everybody who reaches it can read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOptions:
    """Telling somebody of a run that failed or does not balance."""

    webhook: SecretStr | None = None
    """An address that takes a JSON document by POST; whoever knows it can write there, so that it is a secret."""
    timeout: float = 10.0
    """Seconds that it may take; it is tried once, and a failure is logged and changes nothing."""
