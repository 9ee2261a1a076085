"""What the ledger must know of an attribute; the journal knows no product."""

from __future__ import annotations

from typing import Protocol


class Mappable(Protocol):
    """What the ledger must know of an attribute."""

    @property
    def key(self) -> int:
        """The id of its indicator."""
        ...

    @property
    def uuid(self) -> bytes:
        """16 bytes."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that change when the payload changes."""
        ...

    @property
    def fold(self) -> int:
        """Equal for values that MISP takes for one; 64 bits, signed."""
        ...

    @property
    def stamp(self) -> int:
        """Changes when anything changes in the row that it was made from; 0 where it is not to be recognised."""
        ...

    @property
    def payload(self) -> bytes:
        """A JSON object without a timestamp."""
        ...

    @property
    def marks(self) -> bytes:
        """Of what is sent; kept to tell later what people have changed."""
        ...

    @property
    def rescued(self) -> tuple[str, ...]:
        """Names of the rules that have mended its value."""
        ...
