"""Secrets in the keyring of the system; needs the extra ``keyring``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

SERVICE = "tqmisp"
"""Under which we keep what we are asked to keep."""


def read(place: str) -> str:
    """The secret of ``SERVICE/NAME``.

    Raises:
        LookupError: there is none; the text goes behind "which".
    """
    service, _, name = place.partition("/")
    keyring = _keyring()
    try:
        secret = keyring.get_password(service, name)
    except keyring.errors.KeyringError as error:
        raise LookupError(f"cannot be read: {error}") from None
    if not secret:
        raise LookupError("the keyring does not hold")
    return str(secret)


def keep(name: str, secret: str) -> str:
    """Put a secret into the keyring; gives the reference to it.

    Raises:
        LookupError: it cannot be kept; the text goes behind "which".
    """
    keyring = _keyring()
    try:
        keyring.set_password(SERVICE, name, secret)
    except keyring.errors.KeyringError as error:
        raise LookupError(f"cannot be written: {error}") from None
    return f"keyring:{SERVICE}/{name}"


def _keyring() -> Any:  # noqa: ANN401  it may not be installed
    try:
        import_module("keyring.errors")
        return import_module("keyring")
    except ImportError:
        raise LookupError("needs the extra keyring: pip install 'tqmisp[keyring]'") from None
