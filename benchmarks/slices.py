"""One slice: ours, its peers, and three ball trees, on the same data."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import digamma, gammaln
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from sklearn.neighbors import NearestNeighbors

from utils import KSG, WKL, Copula
from utils.validation import as_labels

from .timing import cpu_milliseconds, markdown, three_digits

N_SLICES = 20
CORRELATION = 0.5
N_CLASSES = 10
SEPARATION = 0.5  # of the means of neighbouring classes, in standard deviations


# ------------------------------------------------------- methods: (x, y) of (n_slices, n) to values


def blocks(n_slices, n):
    """As many slices at once as `sliced_mutual_information` measures."""
    size = max(1, 2**16 // n)
    return [slice(start, start + size) for start in range(0, n_slices, size)]


def ours(estimator):
    """An estimator of this package."""

    def measure(x, y):
        return np.concatenate(
            [estimator.slice_terms(x[rows], y[rows])[0].mean(axis=1) for rows in blocks(*x.shape)]
        )

    return measure


def ours_labels(estimator):
    """The same with labels."""

    def measure(x, labels):
        classes = as_labels(labels, "labels")
        return np.concatenate(
            [
                estimator.slice_terms_labels(x[rows], classes)[0].mean(axis=1)
                for rows in blocks(*x.shape)
            ]
        )

    return measure


def ball_tree_entropy(x, k):
    """Kozachenko-Leonenko entropy of (n, d) samples by a ball tree."""
    n, dim = x.shape
    search = NearestNeighbors(n_neighbors=k, algorithm="ball_tree").fit(x)
    distances = search.kneighbors()[0][:, -1]
    log_ball = 0.5 * dim * math.log(math.pi) - gammaln(0.5 * dim + 1.0)
    return dim * np.log(distances).mean() + log_ball + math.log(n - 1.0) - digamma(k)


def ball_trees(k):
    """The same estimate from three trees: of x, of y and of the whitened pair."""

    def slice_information(x, y):
        x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
        correlation = np.mean(x * y)
        residual = (y - correlation * x) / math.sqrt(1.0 - correlation**2)
        pair = ball_tree_entropy(np.column_stack([x, residual]), k)
        pair += 0.5 * math.log(1.0 - correlation**2)
        return ball_tree_entropy(x[:, None], k) + ball_tree_entropy(y[:, None], k) - pair

    return each_slice(slice_information)


def ball_trees_labels(k):
    """The same estimate from a tree of all samples and one of every class."""

    def slice_information(x, labels):
        classes = [x[labels == label, None] for label in range(N_CLASSES)]
        within = sum(len(x_class) * ball_tree_entropy(x_class, k) for x_class in classes)
        return ball_tree_entropy(x[:, None], k) - within / len(x)

    return each_slice(slice_information)


def each_slice(function):
    """Let a function of one slice measure them all."""

    def measure(x, y):
        others = y if y.ndim == 2 else [y] * len(x)
        return np.array([float(function(*pair)) for pair in zip(x, others, strict=True)])

    return measure


def regression(x, y):
    return mutual_info_regression(x[:, None], y, n_neighbors=3, random_state=0)[0]


def classification(x, labels):
    return mutual_info_classif(x[:, None], labels, n_neighbors=3, random_state=0)[0]


def ennemi_peers():
    import ennemi

    def continuous(x, y):
        return ennemi.estimate_mi(y, x, k=5, max_threads=1).item()

    def labels(x, labels):
        return ennemi.estimate_mi(labels, x, k=5, discrete_y=True, max_threads=1).item()

    return continuous, labels


def infomeasure_peers():
    import infomeasure

    def entropy(x):
        return infomeasure.entropy(x, approach="kl", k=4, base="e")

    def continuous(x, y):
        return entropy(x) + entropy(y) - entropy(np.column_stack([x, y]))

    def labels(x, labels):
        classes = [x[labels == label] for label in range(N_CLASSES)]
        return entropy(x) - sum(len(x_class) * entropy(x_class) for x_class in classes) / len(x)

    return continuous, labels


def npeet_plus_peers():
    import npeet_plus

    def continuous(x, y):
        return npeet_plus.mi(x, y, k=3, base=math.e)

    def labels(x, labels):
        return npeet_plus.micd(x[:, None], labels[:, None], k=3, base=math.e)

    return continuous, labels


def mutinfo_peers():
    from mutinfo.estimators.knn import WKL as TheirWKL

    estimator = TheirWKL(k_neighbors=5)

    def continuous(x, y):
        return estimator(x[:, None], y[:, None])

    def labels(x, labels):
        entropy = estimator.entropy
        classes = [x[labels == label, None] for label in range(N_CLASSES)]
        return entropy(x[:, None]) - sum(len(each) * entropy(each) for each in classes) / len(x)

    return continuous, labels


def mutinfo_ksg_peers():
    from mutinfo.estimators.knn import KSG as TheirKSG

    estimator = TheirKSG(k_neighbors=5)
    # It takes codes of labels for numbers.
    return lambda x, y: estimator(x[:, None], y[:, None]), None


PEERS = {
    "mutinfo WKL, k = 5": mutinfo_peers,
    "mutinfo KSG, k = 5": mutinfo_ksg_peers,
    "ennemi, k = 5": ennemi_peers,
    "infomeasure, KL entropies, k = 4": infomeasure_peers,
    "npeet-plus, k = 3": npeet_plus_peers,
}


def methods(with_labels):
    """Every method by name; the string "not installed" for a peer that is missing."""
    trees, own = (ball_trees_labels, ours_labels) if with_labels else (ball_trees, ours)
    found = {"ball trees, k = 5 (the reference's method)": trees(5)}
    name = "mutual_info_classif" if with_labels else "mutual_info_regression"
    peer = classification if with_labels else regression
    found[f"scikit-learn {name}, 3 neighbours"] = each_slice(peer)
    for peer_name, import_peer in PEERS.items():
        try:
            peer = import_peer()[with_labels]
            found[peer_name] = "does not measure labels" if peer is None else each_slice(peer)
        except ImportError:
            found[peer_name] = "not installed"
    found["**ours**, Copula, the default"] = own(Copula())
    found["**ours**, KSG, k = 5"] = own(KSG(5))
    return found | {f"**ours**, WKL, k = {k}": own(WKL(k)) for k in (1, 5, 25)}


# -------------------------------------------------------------------------------------------- data


def correlated_slices(n, n_slices=N_SLICES, rng=0):
    """Slices of normal data of one correlation, and their exact information in nats."""
    rng = np.random.default_rng(rng)
    x, noise = rng.standard_normal((2, n_slices, n))
    y = CORRELATION * x + math.sqrt(1.0 - CORRELATION**2) * noise
    return x, y, -0.5 * math.log1p(-(CORRELATION**2))


def labelled_slices(n, n_slices=N_SLICES, rng=0):
    """Slices of normal classes of shifted means, and their exact information in nats."""
    rng = np.random.default_rng(rng)
    labels = rng.permutation(np.arange(n) % N_CLASSES)
    x = SEPARATION * labels + rng.standard_normal((n_slices, n))
    means = SEPARATION * np.arange(N_CLASSES)

    def entropy_density(value):
        density = np.exp(-0.5 * (value - means) ** 2).mean() / math.sqrt(2.0 * math.pi)
        return -density * math.log(density)

    entropy = quad(entropy_density, -9.0, means[-1] + 9.0, limit=200)[0]
    return x, labels, entropy - 0.5 * math.log(2.0 * math.pi * math.e)


# ------------------------------------------------------------------------------------------- table


def table(n, *, with_labels):
    """Milliseconds per slice, the ratio to the ball trees, and the errors, method by method."""
    x, y, exact = (labelled_slices if with_labels else correlated_slices)(n)
    rows = []
    for name, measure in methods(with_labels).items():
        if isinstance(measure, str):
            rows.append([name, measure, "", "", ""])
            continue
        measure(x[:2], y if with_labels else y[:2])
        milliseconds, values = cpu_milliseconds(lambda measure=measure: measure(x, y))
        milliseconds /= len(x)
        if not rows:
            reference = milliseconds
        error = values - exact
        rows.append(
            [
                name,
                three_digits(milliseconds),
                three_digits(reference / milliseconds),
                f"{error.mean():+.4f} ± {error.std(ddof=1) / math.sqrt(len(x)):.4f}",
                f"{math.sqrt(np.mean(error**2)):.4f}",
            ]
        )
    header = [
        "method",
        "ms per slice",
        "ball trees / this",
        "error of the mean, nats",
        "RMSE per slice",
    ]
    return markdown(header, rows)
