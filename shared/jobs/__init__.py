"""Jobs and their batches: what Redis knows of them, and each change as one atomic step."""
