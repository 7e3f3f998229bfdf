"""Mislabelled digits found by pointwise sliced mutual information, beside psmi.

    python -m benchmarks.pointwise --data FOLDER --save     # results/paper/pointwise.pkl

10,000 digits of MNIST to fit, 10,000 others to score, and 10 % of the labels of both replaced by
another digit at random. AUROC: how well a low score of the given label tells the replaced ones.
Both take 500 slices. Times are of one fit and one transform, in turns; of the processor, summed
over threads, and on the clock. The package psmi (measured: 0.2.0, LGPL) assumes normal classes.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score

from utils import KSG, Copula, Gaussian, save_results, sliced_mutual_information
from utils.mnist import load_images
from utils.pointwise import PointwiseSMI

N_SAMPLES = 10_000
N_PROJECTIONS = 500
FLIPPED = 0.1
N_REPEATS, N_HELD_OUT = 4, 2
ESTIMATORS = {"KSG(20), the default": KSG(20), "Copula(20)": Copula(20), "Gaussian": Gaussian()}
PEER = "psmi"


def ours(estimator):
    def scores(seed, x, labels, new_x, new_labels):
        model = PointwiseSMI(estimator, n_projections=N_PROJECTIONS, rng=seed).fit(x, labels)
        return model.transform(new_x)[np.arange(len(new_x)), new_labels]

    return scores


def of_psmi(seed, x, labels, new_x, new_labels):
    from psmi import PSMI

    model = PSMI(n_estimators=N_PROJECTIONS)
    model.fit(x, labels)
    return model.transform(new_x, new_labels)[0]


def with_flipped(labels, rng):
    """Labels of which some are replaced by another, and which ones."""
    flipped = rng.random(len(labels)) < FLIPPED
    return np.where(flipped, (labels + rng.integers(1, 10, len(labels))) % 10, labels), flipped


def measured(methods, images, labels):
    """AUROC and times of every method, repetition by repetition."""
    results = {name: {"auroc": [], "seconds": [], "cpu_seconds": []} for name in methods}
    for seed in range(N_REPEATS):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(images))[: 2 * N_SAMPLES]
        fitted, new = rows[:N_SAMPLES], rows[N_SAMPLES:]
        given, _ = with_flipped(labels[fitted], rng)
        new_given, flipped = with_flipped(labels[new], rng)
        for name, method in methods.items():
            start = time.perf_counter(), time.process_time()
            scores = method(seed, images[fitted], given, images[new], new_given)
            end = time.perf_counter(), time.process_time()
            results[name]["auroc"].append(float(roc_auc_score(flipped, -scores)))
            results[name]["seconds"].append(end[0] - start[0])
            results[name]["cpu_seconds"].append(end[1] - start[1])
    return results


def held_out(estimator, images, labels):
    """The mean over new samples with their classes, and the sliced information of the same ones."""
    values = []
    for seed in range(N_HELD_OUT):
        rows = np.random.default_rng([seed, 1]).permutation(len(images))[: 2 * N_SAMPLES]
        fitted, new = rows[:N_SAMPLES], rows[N_SAMPLES:]
        scores = ours(estimator)(seed, images[fitted], labels[fitted], images[new], labels[new])
        smi = sliced_mutual_information(
            images[new],
            labels[new],
            estimator=estimator,
            n_projections=N_PROJECTIONS,
            y_discrete=True,
            rng=seed,
        )
        slicing_error = smi.per_slice.std() / N_PROJECTIONS**0.5
        values.append([scores.mean(), slicing_error, smi.value, smi.std_error])
    return np.array(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=None, help="where MNIST is")
    parser.add_argument("--save", action="store_true", help="write the results")
    options = parser.parse_args()
    data = load_images("mnist", root=options.data, download=False)
    images = data.train_images.numpy().reshape(len(data.train_images), -1)
    labels = data.train_labels.numpy()
    methods = {PEER: of_psmi} | {name: ours(estimator) for name, estimator in ESTIMATORS.items()}
    for name in ESTIMATORS:  # compiles
        methods[name](0, images[:500], labels[:500], images[:10], labels[:10])
    results = measured(methods, images, labels)
    peer = results[PEER]
    for name, row in results.items():
        line = f"{name}: AUROC {np.mean(row['auroc']):.4f} +- "
        line += f"{np.std(np.subtract(row['auroc'], peer['auroc']), ddof=1) / N_REPEATS**0.5:.4f}"
        for clock in ("seconds", "cpu_seconds"):
            share = median(row[clock]) / median(peer[clock])
            line += f", {median(row[clock]):.2f} {clock} ({share:.2f} of psmi)"
        print(line)
    for name, estimator in ESTIMATORS.items():
        values = held_out(estimator, images, labels)
        results[name]["held_out"] = values
        mean, slicing_error, smi, smi_error = values.mean(axis=0)
        print(f"{name}: new samples {mean:.4f} +- {slicing_error:.4f}, SMI {smi:.4f} +- ", end="")
        print(f"{smi_error:.4f}")
    if options.save:
        settings = {
            "n_samples": N_SAMPLES,
            "n_projections": N_PROJECTIONS,
            "flipped": FLIPPED,
            "n_repeats": N_REPEATS,
        }
        save_results("pointwise", results, settings=settings, directory="results/paper")


if __name__ == "__main__":
    main()
