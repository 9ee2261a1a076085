"""How to run a source, a mapper and sinks together; knows nothing of any product."""
