"""Telling somebody of a run that failed or does not balance, by one small JSON document."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import aiohttp
import anyio
import orjson

from tqmisp.log import get_logger
from tqmisp.observe.logs import redact
from tqmisp.observe.options import NotifyOptions
from tqmisp.observe.receipt import Receipt

VERSION = version("tqmisp")

log = get_logger(__name__)

MOST_CHARACTERS = 500
"""Of one sentence, which may quote what a server said."""
MOST_SENTENCES = 10


def message(
    target: str, *, receipt: Receipt | None = None, error: BaseException | None = None
) -> dict[str, Any] | None:
    """What to tell of a run; None if there is nothing that needs somebody.

    Args:
        target: the name of the MISP.
        receipt: of a run that came to its end.
        error: what ended it otherwise.
    """
    document: dict[str, Any] = {"program": "tqmisp", "version": VERSION, "target": target}
    if error is not None:
        name = type(error).__name__
        return document | {
            "event": "run_failed",
            "text": f"tqmisp: the run to {target} failed ({name}).",  # chats show this, so it quotes no server
            "error": name,
            "reason": _said(error),
        }
    if receipt is None:
        return None
    about = {"run_id": receipt.run_id, "started_at": receipt.started_at, "seconds": receipt.seconds}
    if not receipt.balanced:
        sentences = [sentence for line in receipt.targets for sentence in line.imbalance]
        return document | {
            "event": "run_not_balanced",
            "text": f"tqmisp: the run to {target} does not balance.",
            **about,
            "read": sum(line.read for line in receipt.targets),
            "accounted": sum(line.accounted() for line in receipt.targets),
            "imbalance": [_said(sentence) for sentence in sentences[:MOST_SENTENCES]],
        }
    held_back = next((line.held_back for line in receipt.targets if line.held_back), None)
    if held_back is not None:
        text = f"tqmisp: the run to {target} has held back what it would withdraw."
        return document | {"event": "run_held_back", "text": text, **about, "reason": _said(held_back)}
    return None


def _said(what: object) -> str:
    return redact(str(what))[:MOST_CHARACTERS].encode(errors="backslashreplace").decode()


async def send(document: dict[str, Any], options: NotifyOptions) -> None:
    """Post a document once; what goes wrong is logged without the address, and never raised."""
    if options.webhook is None:
        return
    timeout = aiohttp.ClientTimeout(total=options.timeout)
    headers = {"Content-Type": "application/json", "User-Agent": f"tqmisp/{VERSION}"}
    try:
        with anyio.fail_after(options.timeout):
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(
                    options.webhook.get_secret_value(), data=orjson.dumps(document), allow_redirects=False
                ) as answer,
            ):
                if answer.status >= 300:
                    log.warning("the notification was refused", status=answer.status)
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        log.warning("the notification could not be delivered", error=type(error).__name__)
