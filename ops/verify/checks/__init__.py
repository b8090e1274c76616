"""The checks by subject.

Each returns its measurement, or raises FailedError or NotCheckedError.
"""
