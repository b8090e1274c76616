"""What is kept of a job's values beside the values: enough for its summary and its plots, in bounded memory.

Imported where matrices are handled, the worker and the api; the monitor stays without NumPy.
"""
