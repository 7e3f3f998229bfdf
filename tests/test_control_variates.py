"""Control variates: against slices measured one by one, integrals, and what must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from utils.control_variates import (
    ControlMeans,
    LabelledControls,
    PairedControls,
    controlled_mean,
)
from utils.subspaces import Subspace
from utils.synthetic import CorrelatedNormal
from utils.validation import Samples, as_labels


def directions(dim, n, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def paired_controls(x, y, n_slices=2000, seed=0):
    return PairedControls.of_samples(
        Samples.of(x), Samples.of(y), n_slices, rng=np.random.default_rng(seed)
    )


def labelled_controls(x, labels, n_slices=2000, seed=0):
    return LabelledControls.of_samples(
        Samples.of(x), as_labels(labels, "y"), n_slices, rng=np.random.default_rng(seed)
    )


def exact_normal_controls(dim, correlation):
    """What infinitely many samples of two standard normal vectors would give."""
    space = Subspace(np.eye(dim), np.ones(dim), 0.0)
    first, second = np.triu_indices(dim)
    # Isserlis: the variance of a product is 2 of a square and 1 of two different components, and
    # third moments vanish.
    squares = np.diag(np.where(first == second, 2.0, 1.0))
    thirds = np.zeros((dim, len(squares)))
    return PairedControls(
        x=space,
        y=space,
        cross=correlation * np.eye(dim),
        x_squares=squares,
        y_squares=squares,
        cross_squares=correlation**2 * squares,
        x_with_squares=thirds,
        y_with_squares=thirds,
        n_directions=4000,
    )


def mixed(rng, n, dim, rank, noise):
    """Columns of very different variance that share `rank` factors, with no row far out."""
    factors = rng.uniform(-1.0, 1.0, (n, rank)) * np.geomspace(1.0, 0.1, rank)
    x = factors @ rng.standard_normal((rank, dim)) + noise * rng.uniform(-1.0, 1.0, (n, dim))
    y = factors @ rng.standard_normal((rank, dim)) + noise * rng.uniform(-1.0, 1.0, (n, dim))
    return x, y


# ------------------------------------------------------------------------------- values of slices


def expected_paired(x, y, theta, phi):
    values = []
    for u, v in zip(theta @ x.T, phi @ y.T, strict=True):
        u, v = u - u.mean(), v - v.mean()
        pairs = (u, v), (u * u, v * v), (u, v * v), (u * u, v)
        correlations = [np.corrcoef(*pair)[0, 1] for pair in pairs]
        linear, squares, *thirds = -0.5 * np.log1p(-np.square(correlations))
        values.append([linear, squares, sum(thirds)])
    return np.transpose(values)


@pytest.mark.parametrize("dims", [(1, 1), (1, 4), (3, 2), (10, 10)])
def test_paired_controls_are_closed_forms_of_the_slices(dims):
    rng = np.random.default_rng(1)
    x = rng.random((400, dims[0]))
    y = 1e-3 * (rng.random((400, dims[1])) + 0.5 * x[:, :1] ** 2)
    x += 1e6
    theta, phi = directions(dims[0], 20), directions(dims[1], 20, 1)
    controls = paired_controls(x, y).of_slices(theta, phi)
    # 1e-9: the floor of 1e-12 of the variances, and the offset of 1e6.
    np.testing.assert_allclose(controls, expected_paired(x, y, theta, phi), atol=1e-9)


def expected_labelled(x, labels, theta):
    values = []
    for u in theta @ x.T:
        classes = [u[labels == label] for label in np.unique(labels)]
        shares = np.array([len(values) for values in classes]) / len(u)
        variances = np.array([values.var() for values in classes])
        within = shares @ variances
        values.append([np.log(u.var() / within), np.log(within) - shares @ np.log(variances)])
    return 0.5 * np.transpose(values)


def test_labelled_controls_are_closed_forms_of_the_slices():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 500)
    x = rng.random((500, 6)) * (1 + labels[:, None]) + labels[:, None] + 1e5
    theta = directions(6, 20)
    controls = labelled_controls(x, labels).of_slices(theta)
    np.testing.assert_allclose(controls, expected_labelled(x, labels, theta), atol=1e-9)


def test_leading_components_are_enough_for_data_of_low_rank():
    # 20 factors in 400 columns: nothing is left beyond the components kept. With so little noise
    # that it does not count.
    x, y = mixed(np.random.default_rng(3), 300, 400, 20, 1e-7)
    theta, phi = directions(400, 20), directions(400, 20, 1)
    linear = paired_controls(x, y).of_slices(theta, phi)[0]
    np.testing.assert_allclose(linear, expected_paired(x, y, theta, phi)[0], atol=1e-6)
    labels = (x[:, 0] > 0).astype(int)
    controls = labelled_controls(x, labels).of_slices(theta)
    np.testing.assert_allclose(controls, expected_labelled(x, labels, theta), atol=1e-6)


# ------------------------------------------------------------------------------------------- means


@pytest.mark.parametrize("dim", [2, 5, 10])
@pytest.mark.parametrize("information", [0.5, 4.0])
def test_means_of_normal_data_are_the_integrals(dim, information):
    pair = CorrelatedNormal(information, dim, dim)
    controls = exact_normal_controls(dim, pair.correlation)
    means = controls.means(rng=np.random.default_rng(0))
    # The squares of a pair with correlation r have the correlation r^2.
    scale = quad(lambda t: math.cos(t) ** (dim - 2), 0, math.pi / 2)[0]
    squares = quad(
        lambda t: (
            -0.5
            * math.log1p(-((pair.correlation * math.sin(t)) ** 4))
            * math.cos(t) ** (dim - 2)
            / scale
        ),
        0,
        math.pi / 2,
    )[0]
    # Every direction of x sees the same; what the nodes miss is 2e-6 of the value at most.
    assert math.isclose(means.values[0], pair.sliced_mutual_information, rel_tol=1e-5)
    assert means.covariance[0, 0] < 1e-16
    assert abs(means.values[1] - squares) < 4 * math.sqrt(means.covariance[1, 1])
    assert means.values[2] == 0.0


def anisotropic(rng):
    x = rng.standard_normal((500, 4)) * [1.0, 0.3, 0.1, 0.01]
    return x, x[:, ::-1] * [50.0, 1.0, 1.0, 1.0] + 0.1 * rng.standard_normal((500, 4))


PAIRS = {
    "anisotropic": anisotropic,
    "one and three columns": lambda rng: (
        x := rng.standard_normal((300, 1)),
        x + x**2 @ [[0, 1, 3.0]] + rng.standard_normal((300, 3)),
    ),
    "Cauchy": lambda rng: tuple(rng.standard_cauchy((2, 300, 3))),
    "wide": lambda rng: mixed(rng, 300, 300, 150, 0.3),
    "fewer samples than columns": lambda rng: mixed(rng, 40, 60, 3, 0.5),
}


@pytest.mark.parametrize("name", PAIRS)
def test_means_of_paired_controls_are_those_of_many_slices(name):
    x, y = PAIRS[name](np.random.default_rng(4))
    controls = paired_controls(x, y)
    means = controls.means(rng=np.random.default_rng(5))
    n = 20_000
    of_slices = controls.of_slices(directions(x.shape[1], n), directions(y.shape[1], n, 1))
    errors = np.sqrt(of_slices.var(axis=1) / n + np.diag(means.covariance))
    # 4 standard errors, and rounding where they vanish.
    assert (np.abs(of_slices.mean(axis=1) - means.values) < 4 * errors + 1e-9).all()


LABELLED = {
    "anisotropic": lambda rng, labels: (
        anisotropic(rng)[0] * (1 + labels[:, None]) + 0.1 * labels[:, None]
    ),
    "one column": lambda rng, labels: rng.standard_normal((500, 1)) + labels[:, None],
    "Cauchy": lambda rng, labels: rng.standard_cauchy((500, 3)) + labels[:, None],
    "wide": lambda rng, labels: (
        mixed(rng, 500, 300, 150, 0.3)[0] + labels[:, None] * rng.random(300)
    ),
    "a class in one point": lambda rng, labels: rng.standard_normal((500, 3)) * labels[:, None],
}


@pytest.mark.parametrize("name", LABELLED)
def test_means_of_labelled_controls_are_those_of_many_slices(name):
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 3, 500)
    controls = labelled_controls(LABELLED[name](rng, labels), labels)
    means = controls.means(rng=rng)
    n = 40_000
    of_slices = controls.of_slices(directions(controls.x.basis.shape[0], n))
    errors = of_slices.std(axis=1) / math.sqrt(n)
    # 4 standard errors, and what the nodes miss of logarithms up to log 1e12.
    assert (np.abs(of_slices.mean(axis=1) - means.values) < 4 * errors + 1e-6).all()


def test_mean_of_two_normal_classes_is_the_integral():
    # Unit covariance in both classes, means apart by 2 m along one axis: a slice at angle a from it
    # has within-class variance 1 and total variance 1 + m^2 cos^2 a.
    dim, shift = 4, 1.5
    between = np.zeros(dim)
    between[0] = shift**2
    controls = LabelledControls(
        Subspace(np.eye(dim), np.ones(dim) + between, 0.0),
        np.array([0.5, 0.5]),
        np.array([np.eye(dim), np.eye(dim)]),
        np.zeros(2),
    )
    means = controls.means(rng=np.random.default_rng(0))
    integrals = [
        quad(lambda a, f=f: f(a) * math.sin(a) ** (dim - 2), 0, math.pi)[0]
        for f in (lambda a: 0.5 * math.log1p((shift * math.cos(a)) ** 2), lambda a: 1.0)
    ]
    # What the nodes miss, 2e-6 of the value.
    np.testing.assert_allclose(
        means.values, [integrals[0] / integrals[1], 0.0], rtol=1e-5, atol=1e-9
    )
    assert (means.covariance == 0.0).all()


def test_what_the_controls_do_not_depend_on():
    rng = np.random.default_rng(7)
    x, y = mixed(rng, 300, 5, 3, 0.2)
    theta, phi = directions(5, 10), directions(5, 10, 1)
    expected = paired_controls(x, y)
    means = expected.means(rng=np.random.default_rng(1)).values
    for x_scale, y_scale, offset in ((1e150, 1e-150, 0.0), (1.0, 1.0, 1e6), (-3.0, 1e-6, -1.0)):
        controls = paired_controls(x * x_scale + offset * x_scale, y * y_scale)
        # 1e-8: an offset of 1e6 costs six of sixteen digits, and squares of squares twice as many.
        np.testing.assert_allclose(
            controls.of_slices(theta, phi), expected.of_slices(theta, phi), atol=1e-8
        )
        np.testing.assert_allclose(
            controls.means(rng=np.random.default_rng(1)).values, means, atol=1e-2
        )


def test_far_rows_hardly_change_the_controls():
    rng = np.random.default_rng(13)
    x, y = mixed(rng, 1000, 5, 3, 0.2)
    theta, phi = directions(5, 20), directions(5, 20, 1)
    clean = paired_controls(x, y).of_slices(theta, phi)
    x[3, 0], y[4, 1] = 1e6, -1e300
    spiked = paired_controls(x, y).of_slices(theta, phi)
    # Two of 1000 rows, each at most 4 distances out: some 4 % of a covariance.
    np.testing.assert_allclose(spiked[0], clean[0], rtol=0.2, atol=0.02)
    labels = np.arange(1000) % 2
    x[:, 1] += labels
    controls = labelled_controls(x, labels)
    expected = controls.of_slices(theta)
    x[3, 0] = 1e9
    np.testing.assert_allclose(labelled_controls(x, labels).of_slices(theta), expected, atol=1e-6)


def test_same_generator_same_numbers():
    x, y = mixed(np.random.default_rng(8), 3000, 300, 10, 0.2)
    first, second = (
        paired_controls(x, y, n_slices=50).means(rng=np.random.default_rng(2)) for _ in range(2)
    )
    assert (first.values == second.values).all()
    assert (first.covariance == second.covariance).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-8, 1e-7])
def test_squares_that_hardly_vary_give_finite_controls(noise):
    for n in range(1000, 5000, 250):
        rng = np.random.default_rng(n)
        # Two values, one as often as the other: the squares are all 2.89, but for the noise.
        x = 1.7 * np.repeat([-1.0, 1.0], n // 2)[:, None] + noise * rng.standard_normal((n, 1))
        controls = paired_controls(x, rng.standard_normal((n, 1)) + x)
        assert controls.x_squares > 0.0
        both = directions(1, 10, seed=0), directions(1, 10, seed=1)
        assert np.isfinite(controls.of_slices(*both)).all()
        assert np.isfinite(controls.means(rng=rng).values).all()


def test_constant_columns_and_constant_rows_give_finite_controls():
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((2, 50, 3))
    x[:, 1] = 4.0
    # One sample of 300,000 differs, which those few that moments are made of leave out.
    sparse = np.zeros((300_000, 40))
    sparse[17] = 1.0
    for first, second in ((x, y), (sparse, sparse), (np.sign(x), np.sign(y))):
        controls = paired_controls(first, second, n_slices=1)
        dims = first.shape[1], second.shape[1]
        of_slices = controls.of_slices(directions(dims[0], 9), directions(dims[1], 9, 1))
        assert np.isfinite(of_slices).all()
        assert np.isfinite(controls.means(rng=rng).values).all()
        controls = labelled_controls(first, np.arange(len(first)) % 2, n_slices=1)
        assert np.isfinite(controls.of_slices(directions(dims[0], 9))).all()
        assert np.isfinite(controls.means(rng=rng).values).all()


# ------------------------------------------------------------------------------------- regression


def controlled_sets(measure, dim, n_slices, n_sets, correlation=0.8):
    """Controlled means of sets of slices, and what is measured of each."""
    controls = exact_normal_controls(dim, correlation)
    rng = np.random.default_rng(10)
    results, plain = [], []
    means = controls.means(rng=rng)
    for _ in range(n_sets):
        theta, phi = (
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            for vectors in rng.standard_normal((2, n_slices, dim))
        )
        values = measure(np.einsum("ij,ij->i", theta, phi), rng)[None]
        result = controlled_mean(values, controls.of_slices(theta, phi), means)
        results.append((result.values[0], result.slicing_errors[0]))
        plain.append(values.mean())
    return *np.transpose(results), np.array(plain)


def test_controlled_mean_has_the_mean_of_what_is_measured_and_less_noise():
    # E t^2 = 1 / dim; measured with noise of 0.1, which no control takes out.
    dim, n_slices, n_sets = 4, 100, 2000
    values, errors, plain = controlled_sets(
        lambda t, rng: 3.0 * t**2 + 0.1 * rng.standard_normal(t.shape), dim, n_slices, n_sets
    )
    # A fitted coefficient is biased by 1 / n_slices of what is left; 0.003 +- 0.0002 were seen.
    assert abs(values.mean() - 3.0 / dim) < 0.004
    # Of 3 t^2, -1/2 log(1 - 0.64 t^2) and its square in the second control leave less than a tenth.
    assert values.var() < 0.05 * plain.var()
    # 95 % within 4 binomial errors of 0.5 %.
    covered = np.mean(np.abs(values - 3.0 / dim) < 1.96 * errors)
    assert 0.93 < covered < 0.97


def test_errors_hold_where_few_slices_have_most_of_the_value():
    values, errors, _ = controlled_sets(lambda t, rng: t**8, 6, 400, 2000)
    # E t^8 in 6 dimensions: 105 / (6 * 8 * 10 * 12).
    covered = np.mean(np.abs(values - 105 / 5760) < 1.96 * errors)
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize("n_slices", [2, 30])
def test_controls_that_say_nothing_do_not_hurt(n_slices):
    values, _, plain = controlled_sets(
        lambda t, rng: rng.standard_normal(t.shape), 3, n_slices, 4000
    )
    # 5 % is the worst allowed; the ratio of two variances of the same draws is known to 1 %.
    assert values.var() < 1.06 * plain.var()


def test_a_mean_that_is_not_known_is_not_used():
    rng = np.random.default_rng(11)
    controls = rng.standard_normal((1, 100))
    noise = 0.1 * rng.standard_normal((1, 100))
    values = controls + noise
    known = controlled_mean(values, controls, ControlMeans(np.zeros(1), np.zeros((1, 1))))
    unknown = controlled_mean(values, controls, ControlMeans(np.zeros(1), np.full((1, 1), 1e6)))
    assert known.slicing_errors[0] < 0.02
    # A coefficient within 0.05 of 1, times the mean of the controls, of 0.1.
    assert abs(known.values[0] - noise.mean()) < 0.05 * 4 * 0.1
    assert abs(unknown.values[0] - values.mean()) < 1e-5
    # Of 100 values of spread 1.
    assert 0.08 < unknown.slicing_errors[0] < 0.12


def test_one_slice_has_no_error_and_constant_controls_change_nothing():
    means = ControlMeans(np.array([3.0]), np.zeros((1, 1)))
    single = controlled_mean(np.array([[2.0]]), np.ones((1, 1)), means)
    assert single.values[0] == 2.0
    assert single.slicing_errors[0] == math.inf
    values = np.arange(40.0)[None]
    rounded = 1.0 + np.finfo(float).eps * (np.arange(40) % 2)
    result = controlled_mean(
        values, np.array([np.ones(40), rounded]), ControlMeans(np.full(2, 3.0), np.zeros((2, 2)))
    )
    assert result.values[0] == values.mean()
    # The jackknife of a mean: the deviations over n - 1, added in squares.
    expected = math.sqrt(values.var() * 40) / 39
    assert math.isclose(result.slicing_errors[0], expected, rel_tol=1e-12)


def test_results_are_controlled_one_by_one():
    rng = np.random.default_rng(12)
    controls = rng.standard_normal((2, 60))
    values = np.array([controls[0], rng.standard_normal(60), controls.sum(axis=0)])
    means = ControlMeans(np.zeros(2), 1e-4 * np.eye(2))
    together = controlled_mean(values, controls, means)
    for i, row in enumerate(values):
        alone = controlled_mean(row[None], controls, means)
        assert math.isclose(together.values[i], alone.values[0], abs_tol=1e-14)
        assert math.isclose(together.slicing_errors[i], alone.slicing_errors[0], rel_tol=1e-9)
