"""A ThreatQ and a MISP that speak over real HTTP, for trials and tests."""
