"""What has been promised to MISP and what has been confirmed."""
