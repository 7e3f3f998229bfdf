"""What a call costs, by samples, slices and width, and what more samples are worth.

    python -m benchmarks.scale --save     # results/paper/scale.pkl

Times are those of the processor, summed over threads. "slice": seconds for one slice of `samples`
normal pairs of correlation 0.5, without projecting. "projection": seconds for projecting float32
samples of `width` columns on one direction. "call": a whole `sliced_mutual_information`; its
"slices" include those of permuted samples. The rows marked "used" make `Law`; the others
check it. "errors": the two standard errors of a call with 2000 slices, the slicing error
extrapolated from fewer; "equal at" is the number of samples for which they would be equal.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from utils import WKL, Copula, CorrelatedNormal, sliced_mutual_information
from utils.validation import Samples

from .rows import BLOCK, measured_rows, name_of, options
from .slices import correlated_slices

ESTIMATORS = {name_of(estimator): estimator for estimator in (Copula(), WKL(k=5))}
FITTED, CHECKED = (10**4, 10**5, 10**6, 10**7), (3 * 10**4, 3 * 10**6)
WIDTHS = 10, 100, 1000
WIDTH_SAMPLES = 10**5
CALL = {"samples": 10**5, "width": 50}
CALL_SLICES, NULL_SLICES = 30, 100
N_SLICES = 2000
DATA = "normal", "square"
CASES = [
    *(
        {"kind": "slice", "estimator": name, "samples": n, "used": n in FITTED}
        for name in ESTIMATORS
        for n in sorted(FITTED + CHECKED)
    ),
    *(
        {"kind": "projection", "samples": WIDTH_SAMPLES, "width": width, "used": True}
        for width in WIDTHS
    ),
    *({"kind": "call", "estimator": name, "used": False} | CALL for name in ESTIMATORS),
    *(
        {"kind": "errors", "estimator": name, "data": data, "samples": n}
        for name in ESTIMATORS
        for data in DATA
        for n in (10**4, 3 * 10**4)
    ),
]


@dataclass(frozen=True)
class Law:
    """Processor seconds = slices * samples * (of_slice + per_number * width).

    of_slice = per_sample * log2(samples) * (samples / 1e6)^growth: sorting and searching, which
    slow down as the arrays leave one cache after the other.

    Parameters
    ----------
    per_sample, growth : dict of str to float
        By estimator; seconds, and a power.
    per_number : float
        Seconds for each number that is projected.
    """

    per_sample: dict[str, float]
    growth: dict[str, float]
    per_number: float

    @classmethod
    def of_rows(cls, rows):
        """Fit it, in ratios, to the rows that are marked as used."""
        used = [row for row in rows if row.get("used")]
        per_sample, growth = {}, {}
        for name in ESTIMATORS:
            n, seconds = np.transpose(
                [(row["samples"], row["seconds"]) for row in used if row.get("estimator") == name]
            )
            growth[name], log_of_one = np.polyfit(
                np.log(n / 1e6), np.log(seconds / (n * np.log2(n))), 1
            )
            per_sample[name] = math.exp(log_of_one)
        per_number = _geometric_mean(
            row["seconds"] / (row["samples"] * row["width"])
            for row in used
            if row["kind"] == "projection"
        )
        return cls(per_sample, growth, per_number)

    def seconds(self, estimator, *, samples, slices=1, width=0):
        """What it says of slices of x and y that have `width` columns together."""
        of_slice = self.per_sample[estimator] * math.log2(samples)
        of_slice *= (samples / 1e6) ** self.growth[estimator]
        return slices * samples * (of_slice + self.per_number * width)


def _geometric_mean(values):
    return math.exp(np.mean([math.log(value) for value in values]))


def processor_seconds(function, *, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def measure_slice(estimator, samples, settings):
    n_slices = max(1, 2 * BLOCK // samples)
    x, y, _ = correlated_slices(samples, n_slices=n_slices)
    size = max(1, BLOCK // samples)

    def measure():
        for start in range(0, n_slices, size):
            rows = slice(start, start + size)
            ESTIMATORS[estimator].slice_terms(x[rows], y[rows]).mean(axis=2)

    # Tables that depend on the number of samples are made once in a call.
    measure()
    return {"seconds": processor_seconds(measure, repeats=settings.repeats) / n_slices}


def measure_projection(samples, width, settings):
    rng = np.random.default_rng(0)
    x = Samples.of(rng.standard_normal((samples, width), dtype=np.float32))
    # As many directions as a chunk of slices has, where samples are many.
    theta = rng.standard_normal((8, width))
    seconds = processor_seconds(lambda: x.project(theta), repeats=settings.repeats)
    return {"seconds": seconds / len(theta)}


def measure_call(estimator, samples, width, settings):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, width // 2), dtype=np.float32)
    y = x + rng.standard_normal(x.shape, dtype=np.float32)

    def call(n):
        sliced_mutual_information(
            x[:n], y[:n], estimator=ESTIMATORS[estimator], n_projections=CALL_SLICES, rng=0
        )

    # The noise of independent data is simulated once in a process.
    call(10**4)
    return {
        "slices": CALL_SLICES + NULL_SLICES,
        "seconds": processor_seconds(lambda: call(samples), repeats=1),
    }


def measure_errors(estimator, data, samples, settings):
    rng = np.random.default_rng(0)
    if data == "normal":
        x, y = CorrelatedNormal(2.0, 10, 10, rng=0).sample(samples, rng=rng)
    else:
        x = rng.standard_normal((samples, 5))
        y = x**2 + 0.5 * rng.standard_normal(x.shape)
    result = sliced_mutual_information(
        x, y, estimator=ESTIMATORS[estimator], n_projections=settings.slices, rng=0
    )
    slicing_error = result.slicing_error * math.sqrt(settings.slices / N_SLICES)
    return {
        "value": result.value,
        "slicing error": slicing_error,
        "sampling error": result.sampling_error,
        "equal at": samples * (result.sampling_error / slicing_error) ** 2,
    }


def measure(kind, used=None, *, settings, **case):
    return {
        "slice": measure_slice,
        "projection": measure_projection,
        "call": measure_call,
        "errors": measure_errors,
    }[kind](**case, settings=settings)


def checks(rows):
    """For each row that checks the law: the case, and what was measured over what it says."""
    law = Law.of_rows(rows)
    for row in rows:
        if row.get("used") is False:
            counts = {name: row[name] for name in ("samples", "slices", "width") if name in row}
            yield row, row["seconds"] / law.seconds(row["estimator"], **counts)


def main():
    settings, save = options(__doc__, repeats=1, slices=100)
    rows = measured_rows(
        "scale",
        sorted(CASES, key=lambda case: case["samples"]),
        lambda **case: measure(**case, settings=settings),
        settings=vars(settings),
        save=save,
    )
    print(Law.of_rows(rows))
    for row, ratio in checks(rows):
        print(f"{row['kind']} {row['estimator']} of {row['samples']:,}: {ratio:.2f} of the law")


if __name__ == "__main__":
    main()
