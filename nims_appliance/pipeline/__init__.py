"""From frames to tracks and metrics: pure computation, no I/O."""
