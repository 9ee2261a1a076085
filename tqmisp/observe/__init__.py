"""What people see of a run: receipt, progress, logs."""
