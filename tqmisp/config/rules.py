"""What a value must be beyond its type, and which values do not go together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tqmisp.config.settings import LocalSettings, Settings, ThreatQSettings
from tqmisp.misp.options import EventOptions
from tqmisp.schedule.options import seconds
from tqmisp.threatq.options import Selection, ThreatQOptions


class Rule(NamedTuple):
    """A condition on one value, and the words for it."""

    holds: Callable[[Any], bool]
    expected: str


def _whole(least: int, most: int) -> Rule:
    return Rule(lambda value: least <= value <= most, f"a whole number from {least:,} to {most:,}")


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False


def _is_server(value: str) -> bool:
    return _is_url(value) and "@" not in value and "?" not in value and "#" not in value


def _is_zone(value: str) -> bool:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return False
    return True


def _is_moment(value: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", value, re.ASCII):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_interval(value: str) -> bool:
    try:
        return value == "0" or seconds(value) > 0
    except ValueError:
        return False


_COUNT = Rule(lambda value: value >= 1, "a whole number, 1 or more")
_NATURAL = Rule(lambda value: value >= 0, "a whole number, 0 or more")
_SECONDS = Rule(lambda value: 0 < value < float("inf"), "a number of seconds, more than 0")
_WAIT = Rule(lambda value: 0 <= value < float("inf"), "a number of seconds, 0 or more")
_TEXT = Rule(lambda value: bool(value.strip()), "some text")
_MOMENT = Rule(_is_moment, "YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, in UTC")
_PROXY = Rule(_is_url, "an address such as http://proxy.example:3128")

RULES: Mapping[str, Rule] = {
    "threatq.url": Rule(
        lambda value: _is_server(value if "://" in value else f"https://{value}"),
        "an address such as https://threatq.example, without user, password or query",
    ),
    "threatq.client_id": _TEXT,
    "threatq.email": _TEXT,
    "threatq.proxy": _PROXY,
    "threatq.connect_timeout": _SECONDS,
    "threatq.read_timeout": _SECONDS,
    "threatq.producers": _COUNT,
    "threatq.page_size": _COUNT,
    "threatq.attempts": _COUNT,
    "threatq.backoff": _WAIT,
    "threatq.backoff_max": _WAIT,
    "threatq.patience": _WAIT,
    "selection.score_threshold": Rule(lambda value: 0 <= value <= 10, "a number from 0 to 10"),
    "selection.since": _MOMENT,
    "selection.until": _MOMENT,
    "misp.url": Rule(_is_server, "an address such as https://misp.example, without user, password or query"),
    "misp.name": _TEXT,
    "misp.proxy": _PROXY,
    "misp.connect_timeout": _SECONDS,
    "misp.read_timeout": _SECONDS,
    "misp.consumers": _COUNT,
    "misp.requests_in_flight": _COUNT,
    "misp.chunk_size": _whole(1, 25_000),
    "misp.attempts": _COUNT,
    "misp.backoff": _WAIT,
    "misp.backoff_max": _WAIT,
    "misp.patience": _WAIT,
    "misp.unclear_seconds": _WAIT,
    "misp.settle_seconds": _WAIT,
    "events.name": _TEXT,
    "events.slice_size": _whole(1, 25_000),
    "events.timezone": Rule(_is_zone, "the name of a time zone such as UTC or Europe/Berlin"),
    "events.distribution": _whole(0, 4),
    "events.sharing_group_id": _COUNT,
    "events.threat_level": _whole(1, 4),
    "events.analysis": _whole(0, 2),
    "pipeline.queue_pages": _COUNT,
    "pipeline.queue_bytes": _COUNT,
    "pipeline.slice_bytes": _COUNT,
    "pipeline.drain_seconds": _WAIT,
    "retire.share": Rule(lambda value: 0 <= value <= 1, "a number from 0 to 1, such as 0.1 for a tenth"),
    "state.path": _TEXT,
    "run.max_rejects": _NATURAL,
    "schedule.every": Rule(_is_interval, "a length of time such as 30m, 4h or 1d12h, or 0 for one run only"),
    "schedule.jitter": Rule(lambda value: 0 <= value <= 0.5, "a number from 0 to 0.5"),
    "schedule.health_port": _whole(1, 65_535),
    "schedule.health_address": _TEXT,
    "metrics.textfile": Rule(lambda value: value.endswith(".prom"), "the path of a file whose name ends in .prom"),
    "metrics.interval": _SECONDS,
    "metrics.port": _whole(1, 65_535),
    "metrics.address": _TEXT,
    "notify.timeout": _SECONDS,
    "output.verbose": _NATURAL,
    "connector.name": _TEXT,
}
"""By dotted key. An optional value is looked at only when there is one, a list not at all."""


def conflicts(settings: LocalSettings) -> Iterator[tuple[str, str]]:
    """Yield dotted key and sentence for each pair of values that do not go together."""
    if isinstance(settings, ThreatQSettings):
        yield from _login(settings.threatq)
        for section in ("threatq", "misp"):
            options = getattr(settings, section, None)
            if options is not None and options.client_key_file and not options.client_cert_file:
                yield f"{section}.client_cert_file", f"is missing; expected it beside {section}.client_key_file"
    if isinstance(settings, Settings):
        yield from _events(settings.events)
        yield from _selection(settings.selection)
        webhook = settings.notify.webhook
        if webhook is not None and not _is_url(webhook.get_secret_value()):  # a secret, so that it is not quoted
            yield "notify.webhook", "is no address; expected one such as https://chat.example/hooks/abc"


def _login(options: ThreatQOptions) -> Iterator[tuple[str, str]]:
    if options.client_secret is not None:
        return
    if options.email is None and options.password is None:
        yield (
            "threatq.client_secret",
            "is missing; expected it for a private client, or threatq.email and threatq.password for a user",
        )
    elif options.email is None:
        yield "threatq.email", "is missing; expected it beside threatq.password"
    elif options.password is None:
        yield "threatq.password", "is missing; expected it beside threatq.email"


def _events(options: EventOptions) -> Iterator[tuple[str, str]]:
    if options.distribution == 4 and options.sharing_group_id is None:
        yield (
            "events.sharing_group_id",
            "is missing; expected the id of the sharing group, since events.distribution is 4",
        )


def _selection(options: Selection) -> Iterator[tuple[str, str]]:
    if options.since and options.until and options.since >= options.until:
        yield "selection.until", f"is {options.until}; expected a moment after selection.since, {options.since}"
    both = sorted(set(options.types) & set(options.exclude_types))
    if both:
        yield "selection.exclude_types", f"names {both[0]!r}, which selection.types asks for"
