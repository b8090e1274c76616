"""Visits a running appliance as its clients do, and says what is wrong and what to do about it."""
