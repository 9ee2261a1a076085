"""Reading indicators from ThreatQ."""
