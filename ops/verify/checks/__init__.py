"""The checks, by what they look at. Each returns what it measured, or raises what ops.verify.outcome has."""
