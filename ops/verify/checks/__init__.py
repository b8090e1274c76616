"""The checks by subject. Each returns its measurement or raises as ops.verify.outcome says."""
