"""Exports threat indicators from ThreatQ into MISP."""
