"""Compiled loops over slices: rows of numbers in, rows of numbers out.

Everything here takes arrays of shape (n_slices, n), one row per slice, and trusts its input: the
checks are made in `utils.validation`, once per call.
"""
