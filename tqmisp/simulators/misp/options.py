"""How a simulated MISP is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tqmisp.simulators.misp.accounts import User, default_users, key_of
from tqmisp.simulators.misp.costs import Costs

DEFAULT_KEY = key_of("Sync user")
"""The key of the user that an export would use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MispSimulatorOptions:
    """Settings that a request cannot change.

    Attributes:
        version: what ``servers/getVersion`` says.
        users: who may sign in.
        body_limit: largest request body in bytes; a longer one is answered as nginx would, with 413 (recording 331).
        cost_per_request: seconds of work that each request takes; 0 answers at once.
        cost_per_attribute: further seconds for each attribute in the body of a request that writes.
        cost_of_correlation: further seconds for each of them that may correlate.
        cost_per_hit: further seconds for each other event that holds the value of one of them.
        contention: the share of its time by which a request is slowed down by each other one.
        crosstalk: the share by which each pair of requests slows down all, see :class:`Costs`.
        workers: requests that are worked on at the same time, as php-fpm's ``pm.max_children``; others wait. None: any
            number.
        maintenance: start with ``MISP.live`` off: everyone but a site admin is redirected (recording 315). It can be
            switched later, see :class:`tqmisp.simulators.misp.store.MispStore`.
        background_jobs: publishing is queued instead of done (recording 427); there is no worker that does it.
        default_distribution: of an event that names none.
        clock_ahead: seconds by which the ``Date`` of answers is ahead of this machine.
        taxonomies: whether each is enabled, by namespace; not recorded, but after MISP's source.
        php: limits that diagnostics show a site admin, in seconds and megabytes.
        settings: of the server that diagnostics show, by name.
    """

    version: str = "2.5.1"
    users: tuple[User, ...] = field(default_factory=default_users)
    body_limit: int = 50 * 1024 * 1024
    cost_per_request: float = 0.0
    cost_per_attribute: float = 0.0
    cost_of_correlation: float = 0.0
    cost_per_hit: float = 0.0
    contention: float = 0.0
    crosstalk: float = 0.0
    workers: int | None = None
    maintenance: bool = False
    background_jobs: bool = False
    default_distribution: int = 1
    clock_ahead: float = 0.0
    taxonomies: Mapping[str, bool] = field(
        default_factory=lambda: {"tlp": True, "misp": True, "false-positive": True, "workflow": False}
    )
    php: Mapping[str, int] = field(
        default_factory=lambda: {
            "max_execution_time": 300,
            "memory_limit": 512,
            "upload_max_filesize": 50,
            "post_max_size": 50,
        }
    )
    settings: Mapping[str, bool | str] = field(
        default_factory=lambda: {"MISP.live": True, "MISP.completely_disable_correlation": False}
    )

    @property
    def costs(self) -> Costs:
        """What work takes."""
        return Costs(
            request=self.cost_per_request,
            attribute=self.cost_per_attribute,
            correlation=self.cost_of_correlation,
            hit=self.cost_per_hit,
            contention=self.contention,
            crosstalk=self.crosstalk,
        )


CALIBRATIONS: Mapping[str, MispSimulatorOptions] = {
    "instant": MispSimulatorOptions(),
    "measured-2.5.1": MispSimulatorOptions(
        cost_per_request=0.09,
        cost_per_attribute=0.00114,
        cost_of_correlation=0.0006,
        cost_per_hit=0.0003,
        contention=0.42,
        crosstalk=0.076,
        workers=2,
    ),
}
"""Servers by name. The measured one is a MISP 2.5.1 on a small machine with 2 cores: 100 to 5,000 attributes a request,
one to four requests at a time, with and without correlation, within 15 % of what was measured."""
