"""Activation makes a version *ready* or *refused*: inspect, compile, verify, record.

- inspection.py, features.py, contract_check.py: read the untrusted file, and compare it with the contract.
- compilation.py: read the trees for shared/treeshap, which compiles them.
- verification/: compare every method on every engine with a reference in float64.
- records.py: the result, which every service reads.

stages.py does this in child processes with a memory cap and a time limit; activate.py starts them.
"""
