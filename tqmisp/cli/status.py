"""``tqmisp status``: what the journal knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tqmisp.cli import common, options, render
from tqmisp.config import LocalSettings
from tqmisp.config.database import without_password
from tqmisp.journal.store import Journal, RunRecord


def status(
    *,
    runs: options.RunsLimit = 10,
    samples: options.Samples = 3,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Show past runs, events, what was refused and why, and who is at work.

    It asks no server.

    \b
    Examples:
      tqmisp status
      tqmisp status --state ./state --samples 10
      tqmisp status --json
    """
    settings = common.local_settings(config, dict(locals()))
    document = common.run_async(lambda: gather(settings, runs=runs, samples=samples))
    if settings.output.json:
        common.print_json(document)
    else:
        common.print_result(render.status(document))


async def gather(settings: LocalSettings, *, runs: int, samples: int) -> dict[str, Any]:
    """Collect what the journal knows, as plain data; an absent journal is an empty one, and is not made."""
    async with open_existing(settings) as journal:
        return await know(journal, settings, runs=runs, samples=samples)


@asynccontextmanager
async def open_existing(settings: LocalSettings) -> AsyncIterator[Journal | None]:
    """Open the journal; None where there is none yet."""
    place = settings.state.place
    if isinstance(place, Path) and not (place / "journal.sqlite").exists():
        yield None
        return
    async with Journal.open(place) as journal:
        yield journal


async def know(journal: Journal | None, settings: LocalSettings, *, runs: int, samples: int) -> dict[str, Any]:
    """What an open journal knows, as plain data."""
    place = settings.state.place
    return {
        "state": str(place) if isinstance(place, Path) else without_password(place),
        "runs": [run_line(record) for record in await journal.runs(runs)] if journal else [],
        "targets": [await _target(journal, number, name, url, samples) for number, name, url in await journal.targets()]
        if journal
        else [],
    }


async def _target(journal: Journal, number: int, name: str, url: str, samples: int) -> dict[str, Any]:
    counts = await journal.refusal_counts(number)
    refused: list[dict[str, Any]] = []
    for (kind, code), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1])):
        rows = await journal.refusals(number, kind=kind, code=code, limit=samples) if samples else []
        refused.append(
            {
                "kind": kind,
                "code": code,
                "count": count,
                "samples": [
                    {
                        "id": row.indicator_id,
                        "type": row.label,
                        "value": row.value.encode(errors="backslashreplace").decode(),  # JSON holds no lone surrogate
                        "reason": row.reason,
                    }
                    for row in rows
                ],
            }
        )
    return {
        "name": name,
        "url": url,
        "lock": _holder(await journal.holder(number)),
        "open_slices": await journal.open_slices(number),
        "oldest_open_slices": [
            {"event": each.info, "attributes": each.items, "promised_at": _moment(each.opened_at)}
            for each in await journal.open_slice_records(number)
        ],
        "events": [event._asdict() for event in await journal.events(number)],
        "refused": refused,
    }


def _holder(owner: str | None) -> dict[str, Any] | None:
    if owner is None:
        return None
    host, process, since = owner.rsplit(":", 2)
    return {"host": host, "process": int(process), "since": _moment(float(since))}


def run_line(record: RunRecord) -> dict[str, Any]:
    """A run as one line of the history."""
    receipt = orjson.loads(record.receipt) if record.receipt else None
    target = next((each for each in (receipt or {}).get("targets", []) if each["name"] == record.target), None)
    return {
        "run_id": record.run_id,
        "target": record.target,
        "started_at": _moment(record.started_at),
        "ended_at": _moment(record.ended_at) if record.ended_at is not None else None,
        "seconds": round(record.ended_at - record.started_at, 1) if record.ended_at is not None else None,
        "outcome": record.outcome,
        "balanced": target["balanced"] if target else None,
        "read": target["read"] if target else None,
        "created": target["created"] if target else None,
        "updated": target["updated"] if target else None,
        "refused": sum(sum(target[kind].values()) for kind in ("rejected", "filtered", "quarantined"))
        if target
        else None,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
