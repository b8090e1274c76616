"""Visits a running appliance as its clients do, and reports faults and their remedies."""
