"""The monitor: event listener, memory guard, recovery, sweeper and metrics."""
