"""The models command: `python -m ops.models add | inspect | remove | list | verify`."""
