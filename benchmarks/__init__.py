"""Measurements of two kinds: what a slice costs, and how well estimates hold.

`make bench` makes the tables of costs, in time and memory, here and elsewhere: results.md. Bias,
noise and power are measured by `python -m benchmarks.<name> --save`, one result in results/paper
each.
"""
