"""Batches of workers that died go to other workers."""
