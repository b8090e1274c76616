"""The proof of the container's memory: `python -m ops.lab.prove`. Needs Docker."""
