"""Trials of the appliance: bench, chaos, soak and demo, on one kernel."""
