"""A compiled TreeSHAP engine: the effect of each leaf is computed once, at activation.

A row meets a leaf's contributions only through one bit for each feature of the leaf's path: whether it satisfies
all of the path's splits on it. So `compiler` makes tables by those bits, `table_file` keeps them in a file that
processes map, and kernels in C (`native/`) compute the bits of many rows at once and add up. docs/decisions.md
says where this comes from.
"""
