"""Activation turns a model's version into *ready* or *refused*: inspect, compile, verify every method, record.

It runs in a child process for each version, with a memory cap and a time limit: the model's file is untrusted.
"""
