"""Writing indicators to MISP."""
