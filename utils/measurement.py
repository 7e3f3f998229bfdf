"""From the variables of a call to the estimates from its slices: what all sliced measures share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .blocks import (
    BlockedSamples,
    as_one_array,
    blocked_samples,
    is_in_blocks,
    projected,
)
from .control_variates import ControlMeans, LabelledControls, PairedControls
from .estimates import IndependenceTest, SlicedEstimate
from .estimators import SliceEstimator
from .estimators.base import check_class_sizes, labelled_samples, paired_samples
from .frames import (
    FrameControls,
    LabelledFrames,
    PairedFrames,
    as_slice_dims,
    canonical_directions,
    check_measures_frames,
    principal_directions,
    project_frames,
)
from .parallel import map_in_order
from .slicing import Chunk, LabelledSlices, PairedSlices, plan, slices_counted_from
from .uncertainty import ChunkResult, Groups, summarize
from .validation import Labels, Samples, as_labels, check_paired

__all__ = [
    "Variables",
    "is_small",
    "measure_slices",
    "permutation_test",
    "progress_bar",
]

_MIN_NUMBERS_FOR_THREADS = 5 * 10**5


@dataclass(frozen=True, eq=False)
class Variables:
    """What a call is to slice, and the dimensions of the slices.

    Parameters
    ----------
    x : Samples
    y : Samples or Labels
    slice_dims : two int
        Of x and of y; labels count as one.
    """

    x: Samples
    y: Samples | Labels
    slice_dims: tuple[int, int]

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        estimator: SliceEstimator,
        rngs: Sequence[np.random.Generator],
        *,
        y_discrete: bool,
        slice_dims: Any = (1, 1),
    ) -> Variables:
        """Check the data and the slices asked for; `rngs` tell equal rows of x and y apart."""
        if y_discrete:
            y = as_one_array(y, "y")
        if is_in_blocks(x) or is_in_blocks(y):
            x, y = _in_blocks(x, y, estimator, rngs, y_discrete, slice_dims)
            return cls(x, y, (1, 1))
        if y_discrete:
            x, y = labelled_samples(estimator, x, y, rngs[0], name="y")
        else:
            x, y = paired_samples(estimator, x, y, rngs)
        dims = as_slice_dims(slice_dims, x.dim, None if y_discrete else y.dim, len(x))
        if dims != (1, 1):
            check_measures_frames(estimator, y_discrete=y_discrete)
        return cls(x, y, dims)

    def part(self, rows: np.ndarray) -> Variables:
        """The samples at these indices."""
        return Variables(self.x.part(rows), self.y.part(rows), self.slice_dims)

    @property
    def dims(self) -> tuple[int, int | None]:
        """The dimensions of x and of y; that of labels is None."""
        return self.x.dim, None if isinstance(self.y, Labels) else self.y.dim

    @property
    def is_whole(self) -> bool:
        """Whether slices have all dimensions, so that there is only one."""
        return self.slice_dims == (self.dims[0], self.dims[1] or 1)

    @property
    def is_in_blocks(self) -> bool:
        """Whether the data are read block by block."""
        return isinstance(self.x, BlockedSamples)

    @property
    def slices(self) -> PairedSlices | LabelledSlices:
        """Projects the data, and has an estimator measure the slices."""
        has_frames = self.slice_dims != (1, 1)
        if isinstance(self.y, Labels):
            labelled = LabelledFrames if has_frames else LabelledSlices
            return labelled(self._projection(self.x), self.y)
        paired = PairedFrames if has_frames else PairedSlices
        return paired(self._projection(self.x), self._projection(self.y), len(self.x))

    def _projection(self, samples):
        if self.is_in_blocks:  # and chunks hold their slices, so that no data follow them
            return None
        return samples.project if self.slice_dims == (1, 1) else partial(project_frames, samples)

    def plan(self, n_projections: int, **options: Any) -> Iterator[Chunk]:
        """Random slices; options as for `slicing.plan`."""
        chunks = plan(*self.dims, len(self.x), n_projections, slice_dims=self.slice_dims, **options)
        if not self.is_in_blocks:
            return chunks
        sides = [side for side in (self.x, self.y) if isinstance(side, BlockedSamples)]
        return projected(chunks, sides)

    def controls(
        self, n_slices: int, *, rng: np.random.Generator
    ) -> PairedControls | LabelledControls | FrameControls | None:
        """What covariances predict of slices; None if they predict nothing."""
        if self.slice_dims == (1, 1):
            if isinstance(self.y, Labels):
                return LabelledControls.of_samples(self.x, self.y, n_slices, rng=rng)
            return PairedControls.of_samples(self.x, self.y, n_slices, rng=rng)
        if isinstance(self.y, Labels):
            return None
        return FrameControls.of_samples(self.x, self.y, self.slice_dims, n_slices, rng=rng)

    def directions(self, frames: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Principal ("pca") or canonical ("cca") directions, (k_x, dim_x) and (k_y, dim_y)."""
        if self.is_in_blocks:
            raise ValueError(f"frames={frames!r} needs x and y in memory; leave it at 'random'")
        k_x, k_y = self.slice_dims
        if isinstance(self.y, Labels):
            # A single class prefers no direction.
            if frames == "pca" or len(self.y.sizes) == 1:
                return principal_directions(self.x, k_x, "x"), None
            of_classes = np.eye(len(self.y.sizes))[self.y.codes]
            return canonical_directions(self.x, Samples.of(of_classes), (k_x, 1))[0], None
        if frames == "pca":
            return principal_directions(self.x, k_x, "x"), principal_directions(self.y, k_y, "y")
        return canonical_directions(self.x, self.y, self.slice_dims)

    def chunk(self, theta: np.ndarray, phi: np.ndarray | None, *, is_null: bool = False) -> Chunk:
        """One slice on given directions, (k_x, dim_x) and (k_y, dim_y)."""
        if self.slice_dims == (1, 1):
            return Chunk(0, theta, phi, is_null)
        # A side of all dimensions is left as it is.
        all_theta, all_phi = (
            None if side is None or len(side) == side.shape[1] else side[None]
            for side in (theta, phi)
        )
        return Chunk(0, all_theta, all_phi, is_null)


def _in_blocks(x, y, estimator, rngs, y_discrete, slice_dims):
    if slice_dims not in (1, (1, 1), [1, 1]):
        raise ValueError(
            f"slice_dims={slice_dims!r} needs x and y in memory; Dask arrays and batches have "
            f"slices of one dimension"
        )
    if not y_discrete:
        return blocked_samples(estimator, {"x": x, "y": y}, rngs)
    labels = as_labels(y, "y")
    check_class_sizes(estimator, labels, "y")
    (x,) = blocked_samples(estimator, {"x": x}, rngs[:1])
    check_paired(x, labels)
    return x, labels


def measure_slices(
    data: PairedSlices | LabelledSlices,
    chunks: Iterator[Chunk],
    null_chunks: Iterator[Chunk],
    order: np.ndarray,
    estimator: SliceEstimator,
    bar: Any,
    n_slices: int,
    *,
    tol: float | None = None,
    controls: PairedControls | LabelledControls | FrameControls | None = None,
    control_means: ControlMeans | None = None,
    is_one_slice: bool = False,
) -> list[SlicedEstimate]:
    """Measure slices, group by group; with `tol`, until their error is no larger.

    Slices of permuted samples follow at once, so that no thread waits for the last of the others.
    """
    groups, null_groups = Groups(control_means), Groups()
    fitted, chunks = data.fitted(estimator, chunks)

    def measure(chunk):
        x, y = data.of(chunk)
        y = data.permuted(y, order) if chunk.is_null else y
        # A distance of 0 gives no finite number, and `summarize` says so.
        with np.errstate(divide="ignore", invalid="ignore"), slices_counted_from(chunk.first):
            terms = data.terms(fitted, x, y)
            values, sums = terms.mean(axis=2), terms.sum(axis=1)
        of_slices = np.empty((0, values.shape[1]))
        if controls is not None and not chunk.is_null:
            of_slices = controls.of_slices(chunk.theta, chunk.phi)
        return ChunkResult(chunk.group, chunk.is_null, values, sums, of_slices)

    def collect(result):
        if result.is_null:
            null_groups.add(result)
        elif not groups.is_complete:
            groups.add(result, tol)
            bar.update(result.values.shape[1])

    # Chunks that are under way when there are enough are waited for, but not used.
    wanted = (
        chunk for chunk in chain(chunks, null_chunks) if chunk.is_null or not groups.is_complete
    )
    map_in_order(
        measure,
        wanted,
        collect,
        in_processes=estimator.in_processes,
        in_place=is_small(data, n_slices, estimator),
        may_travel=data.may_travel,
    )
    groups.close()
    null_groups.close()
    labels = data.labels if isinstance(data, LabelledSlices) else None
    return summarize(
        groups, null_groups, estimator, data.n_samples, labels, is_one_slice=is_one_slice
    )


def is_small(data: PairedSlices | LabelledSlices, n_slices: int, estimator: SliceEstimator) -> bool:
    """Whether threads would cost more than they save."""
    if estimator.in_processes or isinstance(data, (PairedFrames, LabelledFrames)):
        return False
    return data.n_samples * n_slices < _MIN_NUMBERS_FOR_THREADS


def permutation_test(statistics: np.ndarray) -> IndependenceTest:
    """The p-value of the data's statistics among those of permutations.

    Parameters
    ----------
    statistics : array, shape (n_statistics, 1 + n_permutations)
        One column per order of y, the data's own order first. The first row is the estimate.
    """
    compared = statistics[0]
    if len(statistics) > 1:
        # The largest of the others, each in units of its spread over all orders.
        others = statistics[1:] - statistics[1:].mean(axis=1, keepdims=True)
        spreads = others.std(axis=1, keepdims=True)
        compared = (others / np.where(spreads > 0.0, spreads, 1.0)).max(axis=0)
    p_value = float(np.mean(compared >= compared[0]))
    return IndependenceTest(float(statistics[0, 0]), p_value, statistics[0, 1:].copy())


def progress_bar(n_slices: int, progress: bool) -> Any:
    """A progress bar over `n_slices` slices, or one that shows nothing."""
    if not progress:
        return _NoBar()
    return tqdm(total=n_slices, desc="slices", unit="slice", leave=False)


class _NoBar:
    """A disabled tqdm would wait for its lock, which another thread may never release."""

    total = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def update(self, n):
        """Show nothing."""
