"""What `watch` shows while a network learns: a figure in a notebook, else a line per epoch."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from watched import X, Y, small_mlp

from utils import watch


@pytest.fixture
def mlp():
    return small_mlp()


def test_a_line_per_epoch_is_printed_outside_notebooks(mlp, capsys):
    plane = watch(mlp, X, Y, n_projections=10, live=True, rng=0)
    for epoch in (1, 2):
        plane.measure(epoch)
    lines = capsys.readouterr().out.splitlines()
    results = plane.results()
    assert len(lines) == 2
    numbers = " / ".join(
        f"{results[name][0, 0, 1]:.3f}" for name in ("information_x", "information_y")
    )
    assert lines[1].startswith(f"epoch 2, I(X; L) / I(L; Y) in nat: 0 {numbers}, 1 ")


def test_a_line_shows_a_dash_where_there_is_no_number(mlp, capsys):
    watch(mlp, X, n_projections=10, live=True, between=True, rng=0).measure(1)
    said = capsys.readouterr().out
    # The last layer has no next one.
    assert said.rstrip().endswith(" / -")
    assert "nan" not in said


def test_notebooks_show_one_picture_that_is_replaced(mlp, monkeypatch):
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("updated", picture))

    def display(picture, *, display_id):
        shown.append(("displayed", picture))
        return Handle()

    # Now: choosing a backend later would ask the stand-in for a shell of more than it has.
    plt.switch_backend("agg")
    monkeypatch.setattr("IPython.get_ipython", type("ZMQInteractiveShell", (), {}))
    monkeypatch.setattr("IPython.display.display", display)
    plane = watch(mlp, X, Y, n_projections=10, live=True, rng=0)
    open_before = plt.get_fignums()
    for epoch in (1, 2, 3):
        plane.measure(epoch)
    assert [how for how, _ in shown] == ["displayed", "updated", "updated"]
    assert all(picture.data.startswith(b"\x89PNG") for _, picture in shown)
    assert plt.get_fignums() == open_before


def test_what_cannot_be_drawn_says_so(mlp):
    plane = watch(mlp, X, Y, n_projections=5, rng=0)
    with pytest.raises(ValueError, match="nothing was measured so far"):
        plane.plot()
    plane.measure(1)
    with pytest.raises(ValueError, match="rule='kth'; choose one of estimate"):
        plane.plot(rule="kth")
