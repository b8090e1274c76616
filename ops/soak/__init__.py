"""The soak: an appliance of its own at full load for an hour, watched for growth: `python -m ops.soak`."""
