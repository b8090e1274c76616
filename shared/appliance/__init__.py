"""State that the appliance's programs share: status, heartbeats, counters and requests."""
