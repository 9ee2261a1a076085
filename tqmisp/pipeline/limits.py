"""How much may be in memory at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """Bounds of the pipeline; memory follows from these and not from the number of items."""

    queue_pages: int = 2
    """Pages that wait between the source and the mapper."""
    queue_bytes: int = 32 * 2**20
    """Bytes of the answers that wait there."""
    slice_bytes: int = 3 * 2**19
    """Bytes a slice at most."""
    drain_seconds: float = 60.0
    """How long a stopped run may take to finish what it has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(PipelineOptions):
    """Bounds of one pipeline, with the size of its slices."""

    slice_items: int = 25_000
    """Items a slice at most."""
