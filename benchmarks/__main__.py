"""All tables of costs, printed as they come and written to results.md.

The measurements saved in results/paper have a command each: `python -m benchmarks.<name> --save`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from threadpoolctl import threadpool_limits

from . import kinds, memory, sizes, slices, start, threads
from .timing import machine

RESULTS = Path(__file__).with_name("results.md")

INTRODUCTION = """# What a slice costs

Made by `make bench` on {date}: {machine} Times move between machines; the ratios within a table
move less.
"""
SLICES = """
## One slice of {n:,} samples

One core, processor time, the median of 5 runs over the same 20 slices of normal data of
correlation 0.5; projecting is not in it. Ball trees: three scikit-learn `NearestNeighbors`, of x, y
and the whitened pair, the method of the reference library.
"""
LABELS = """
## One slice of 10,000 samples against labels

As above; 10 normal classes whose means are half a standard deviation apart.
"""
SIZES = """
## More samples, more neighbours

Milliseconds per slice on one core; in brackets, how many times longer ball trees with the same k
take, which give the same numbers.
"""
KINDS = """
## Data of other kinds

Milliseconds per slice of 10,000 samples on one core, x and y independent; in brackets, how many
times longer than normal data.
"""
THREADS = """
## Threads

A whole `sliced_mutual_information`, projections included; wall time, the median of 11 runs in
turns.
"""
START = """
## The first call

Seconds in a new process, with no compiled code on disk and with that of an earlier process.
"""
MEMORY = """
## Memory

`sliced_mutual_information` of float32 memory maps on two threads: the peak beyond that of a small
call.
"""


def main():
    parts = []

    def add(text):
        parts.append(text)
        print(text, flush=True)

    add(INTRODUCTION.format(date=date.today(), machine=machine()))
    with threadpool_limits(1):
        for n in (3_000, 10_000):
            add(SLICES.format(n=n))
            add(slices.table(n, with_labels=False))
        add(LABELS)
        add(slices.table(10_000, with_labels=True))
        add(SIZES)
        add(sizes.table())
        add(KINDS)
        add(kinds.table())
    for heading, module in ((THREADS, threads), (START, start), (MEMORY, memory)):
        add(heading)
        add(module.table())
    RESULTS.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
