"""What the appliance's programs know of each other: status, heartbeats, recycle requests, counters."""
