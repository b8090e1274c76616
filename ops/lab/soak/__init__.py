"""The soak: full load for an hour, watched for growth: `python -m ops.lab.soak`."""
