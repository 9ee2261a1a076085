"""What came back from a server, or why nothing did. Pure."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tqmisp.transport.words import one_line


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever the status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """The type of the content, for a text."""
        return one_line(self.headers.get("content-type", "no content type").partition(";")[0])

    @property
    def asks_for_certificate(self) -> bool:
        """Whether a web server in front refuses us for want of a good client certificate, in nginx's words."""
        return self.status == 400 and b"SSL certificate" in self.content


class NoReply(Exception):
    """A request was not answered.

    Attributes:
        area: where on the way it was.
        fate: ``mend``: it will be the same again until something is mended; ``away``: nothing of it has arrived;
            ``late``: it may have arrived, and be at work still; ``lost``: it may have been carried out.
        reason: what happened, a sentence.
        fix: what to do about it, a sentence.
    """

    def __init__(
        self,
        area: Literal["address", "proxy", "certificate", "connection"],
        fate: Literal["mend", "away", "late", "lost"],
        reason: str,
        fix: str,
    ) -> None:
        super().__init__(f"{reason} {fix}")
        self.area = area
        self.fate = fate
        self.reason = reason
        self.fix = fix


def seconds_since_1970(date: str) -> float | None:
    """The moment of an HTTP date; None where it is none."""
    try:
        parts = email.utils.parsedate_tz(date)
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError, TypeError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks for, given as a number or as a date; None where it does not."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    date = seconds_since_1970(asked)
    return None if date is None else max(0.0, date - time.time())
