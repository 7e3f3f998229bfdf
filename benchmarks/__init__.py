"""Measurements of two kinds: what a slice costs, and how well estimates hold.

`make bench` makes the tables of costs, in time and memory, here and elsewhere: results.md. The other
modules measure bias, noise and power, one result in results/paper each:
`python -m benchmarks.<name> --save`.
"""
