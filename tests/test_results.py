"""Result files come back as they were, are written whole, and cannot make the reader run code."""

from __future__ import annotations

import datetime
import enum
import io
import os
import pickle
import platform
import signal
import subprocess
import sys
import time
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest

from utils.results import FORMAT, load_results, replace_atomically, save_results

ROOT = Path(__file__).resolve().parents[1]

RESULTS = {
    "array": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "empty": np.empty((0, 3), np.float32),
    "no dimension": np.array(3.5),
    "complex": np.array([1 + 2j]),
    "flags": np.array([True, False]),
    "names": np.array(["a", "bcd"]),
    "numbers": [1, 2.5, True, None, "text", float("inf"), 10**30],
    "numpy numbers": (np.float64(1.5), np.int32(3), np.bool_(True), np.float32(0.1)),
    "nested": {"deeper": [{"deepest": np.zeros(2)}], 3: "a number as key"},
    "nothing": {},
}


def assert_equal(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_equal(got[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    else:
        assert got == expected


def test_what_is_saved_comes_back(tmp_path):
    settings = {"dims": (1, 2), "seed": 0}
    path = save_results("grid", RESULTS, settings=settings, directory=tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "grid.pkl"
    saved = load_results("grid", directory=tmp_path / "new" / "folder")
    assert_equal(saved.results, RESULTS)
    assert_equal(saved.settings, settings)


def test_the_file_says_when_and_on_what_it_was_made(tmp_path):
    save_results("grid", {}, settings={}, directory=tmp_path)
    provenance = load_results("grid", directory=tmp_path).provenance
    made = datetime.datetime.fromisoformat(provenance["date"])
    age = datetime.datetime.now(datetime.UTC) - made
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert provenance["versions"]["python"] == platform.python_version()
    assert provenance["versions"]["numpy"] == np.__version__
    assert {"numba", "scipy", "scikit-learn"} <= provenance["versions"].keys()


def test_the_file_is_an_ordinary_pickle_of_plain_things(tmp_path):
    path = save_results("grid", {"a": np.zeros(2)}, settings={"b": 1}, directory=tmp_path)
    # In a process that knows neither this repository nor anything but numpy.
    code = f"import pickle; print(sorted(pickle.load(open({str(path)!r}, 'rb'))['results']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['a']\n"


def test_a_second_save_replaces_the_first(tmp_path):
    save_results("grid", {"a": 1}, settings={}, directory=tmp_path)
    save_results("grid", {"a": 2}, settings={}, directory=tmp_path)
    assert load_results("grid", directory=tmp_path).results == {"a": 2}
    assert sorted(os.listdir(tmp_path)) == ["grid.csv", "grid.pkl"]


# ------------------------------------------------------------------------------ whole or not at all


def test_a_crash_in_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = save_results("grid", {"a": 1}, settings={}, directory=tmp_path)
    before = path.read_bytes()

    def crash():
        with replace_atomically(path) as temporary:
            temporary.write_bytes(before[:10])
            assert path.read_bytes() == before
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        crash()
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["grid.csv", "grid.pkl"]


def test_a_crash_at_the_very_end_leaves_the_old_file_or_none(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no")

    path = save_results("old", {"a": 1}, settings={}, directory=tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", refuse)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="no"):
            save_results(name, {}, settings={}, directory=tmp_path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["old.csv", "old.pkl"]


KILLED = """
import os, signal
from utils.results import replace_atomically
with replace_atomically("grid.pkl") as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_writing_leaves_the_old_file(tmp_path):
    path = save_results("grid", {"a": 1}, settings={}, directory=tmp_path)
    before = path.read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    # A later save removes what is left of this one once it is old, and nothing else: what another
    # writer, perhaps on another machine, has in work, or is called something alike.
    (left,) = (name for name in os.listdir(tmp_path) if name.endswith(".tmp"))
    others = [
        ".grid.pkl.elsewhere-1-0123abcd.tmp",
        ".other.pkl.elsewhere-1-0123abcd.tmp",
        "grid.pkl.elsewhere-1-0123abcd.tmp",
        ".grid.pkl.notes.tmp",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    save_results("grid", {"a": 2}, settings={}, directory=tmp_path)
    assert left in os.listdir(tmp_path)
    hour_ago = time.time() - 3600
    for name in (left, *others[1:]):
        os.utime(tmp_path / name, (hour_ago, hour_ago))
    save_results("grid", {"a": 3}, settings={}, directory=tmp_path)
    assert load_results("grid", directory=tmp_path).results == {"a": 3}
    assert sorted(os.listdir(tmp_path)) == sorted(["grid.csv", "grid.pkl", *others])


def test_of_two_writers_at_once_the_last_one_wins(tmp_path):
    path = tmp_path / "grid.pkl"
    with replace_atomically(path) as first:
        first.write_bytes(b"first")
        with replace_atomically(path) as second:
            assert second != first
            second.write_bytes(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["grid.pkl"]


def test_names_of_temporary_files_tell_machines_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "node17")
    with replace_atomically(tmp_path / "grid.pkl") as temporary:
        assert "node17" in temporary.name
        assert str(os.getpid()) in temporary.name


def test_home_is_expanded_and_any_folder_name_works(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = save_results("grid", {"a": 1}, settings={}, directory="~/Übung 1/mit Lücke")
    assert path == tmp_path / "Übung 1" / "mit Lücke" / "grid.pkl"
    assert load_results("grid", directory="~/Übung 1/mit Lücke").results == {"a": 1}
    with replace_atomically("~/other.txt") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "other.txt").read_text() == "text"
    assert not Path("~").exists()


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path):
    path = save_results("grid", {"a": 1}, settings={}, directory=tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_results("grid", {"a": object()}, settings={}, directory=tmp_path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["grid.csv", "grid.pkl"]


# ---------------------------------------------------------------------------------- what is refused

Point = namedtuple("Point", "x y")


class Name(str):
    pass


class Colour(enum.IntEnum):
    RED = 1


REFUSED = {
    "a set": {1, 2},
    "bytes": b"x",
    "a function": len,
    "a class": int,
    "a path": Path("x"),
    "a date": datetime.date(2026, 1, 1),
    "an object array": np.array([None]),
    "a structured array": np.zeros(1, "i4,f4"),
    "an array of dates": np.array(["2026-01-01"], "M8[D]"),
    # Subclasses need their class to be read back.
    "an ordered dict": OrderedDict(a=1),
    "a default dict": defaultdict(list),
    "a named tuple": Point(1, 2),
    "a kind of string": Name("x"),
    "an enum": Colour.RED,
    "a masked array": np.ma.masked_array([1.0]),
    # Which other machines do not have.
    "a long double": np.longdouble(1),
    "an array of long doubles": np.zeros(2, np.longdouble),
    "an array of long complex numbers": np.zeros(2, np.clongdouble),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_is_refused_and_named(value, tmp_path):
    kind = "array" if type(value) is np.ndarray else type(value).__name__
    with pytest.raises(TypeError, match=rf"results\['here'\]\[1\].*{kind}"):
        save_results("grid", {"here": [0, value]}, settings={}, directory=tmp_path)
    with pytest.raises(TypeError, match=rf"settings\['there'\].*{kind}"):
        save_results("grid", {}, settings={"there": value}, directory=tmp_path)
    assert os.listdir(tmp_path) == []


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_containers_that_never_end_are_refused_and_named(tmp_path):
    own_list, own_dict = [1], {"a": {}}
    own_list.append(own_list)
    own_dict["a"]["b"] = own_dict
    for value, complaint in (
        (own_list, r"results\['here'\]\[1\] is a list that holds itself"),
        (own_dict, r"results\['here'\]\['a'\]\['b'\] is a dict that holds itself"),
        (nested(5000), r"results\['here'\]\[0\]\[0\].* is a list inside 100 others"),
    ):
        with pytest.raises(TypeError, match=complaint):
            save_results("grid", {"here": value}, settings={}, directory=tmp_path)
    assert os.listdir(tmp_path) == []
    # The same container twice is none of these.
    twice = [1, 2]
    save_results("grid", {"here": [twice, twice, nested(90)]}, settings={}, directory=tmp_path)
    back = load_results("grid", directory=tmp_path).results
    assert back == {"here": [twice, twice, nested(90)]}


def test_keys_are_checked_too(tmp_path):
    with pytest.raises(TypeError, match=r"a key of results.*bytes"):
        save_results("grid", {b"key": 1}, settings={}, directory=tmp_path)


# ------------------------------------------------------------------------------------ hostile files


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(path):
    return f"touch {path}"


def whole(value):
    return {
        "format": FORMAT,
        "format_version": 1,
        "results": value,
        "settings": {},
        "provenance": {},
    }


def objects(value):
    array = np.empty(2, object)
    array[:] = [value, None]
    return array


def opcodes(module, name, argument):
    """A pickle that calls module.name(argument), whatever Python thinks of them."""
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


HOSTILE = {
    "os.system": lambda trace: pickle.dumps(Call(os.system, touch(trace))),
    "os.system among results": lambda trace: pickle.dumps(whole(Call(os.system, touch(trace)))),
    "as a key": lambda trace: pickle.dumps({Call(os.system, touch(trace)): 1}),
    "as a setting": lambda trace: pickle.dumps(
        {**whole({}), "settings": [Call(os.system, touch(trace))]}
    ),
    "nested": lambda trace: pickle.dumps(whole([{"a": (1, [Call(os.system, touch(trace))])}])),
    "builtins.eval": lambda trace: pickle.dumps(
        whole(Call(eval, f"__import__('os').system('touch {trace}')"))
    ),
    "builtins.open": lambda trace: pickle.dumps(whole(Call(open, str(trace), "w"))),
    "subprocess": lambda trace: pickle.dumps(
        whole(Call(subprocess.check_call, ["touch", str(trace)]))
    ),
    "inside an object array": lambda trace: pickle.dumps(
        whole(objects(Call(os.system, touch(trace))))
    ),
    "an object array": lambda trace: pickle.dumps(whole(objects(1))),
    "protocol 0": lambda trace: opcodes("posix", "system", touch(trace)),
    "a dotted name": lambda trace: b"\x80\x04\x8c\x05numpy\x8c\x0eos.path.exists\x93.",
    "another numpy function": lambda trace: opcodes("numpy", "fromfile", "/dev/null"),
    "numpy's own loader": lambda trace: opcodes("numpy", "load", str(trace)),
    "a class of this repository": lambda trace: b"cutils.results\nSavedResults\n.",
    "an extension code": lambda trace: b"\x80\x02\x82\x01.",
    "a persistent id": lambda trace: b"Psomething\n.",
    "truncated": lambda trace: pickle.dumps(whole(np.arange(100.0)))[:-50],
    "nothing": lambda trace: b"",
    "text": lambda trace: b"accuracy,loss\n0.9,0.1\n",
    "zeros": lambda trace: bytes(100),
    "a picture": lambda trace: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "a huge length": lambda trace: b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "an unhashable key": lambda trace: b"\x80\x04}]K\x01s.",
    "nested very deep": lambda trace: b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a list in itself": lambda trace: b"\x80\x04]\x94h\x00a.",
    "an array of the wrong size": lambda trace: pickle.dumps(np.arange(100.0)).replace(
        b"Kd\x85", b"Ke\x85"
    ),
    "only the format": lambda trace: pickle.dumps({"format": FORMAT}),
    "a version that is no number": lambda trace: pickle.dumps(
        {**whole({}), "format_version": "new"}
    ),
    "the wrong format": lambda trace: pickle.dumps({**whole({}), "format": "other"}),
    "another pickle": lambda trace: pickle.dumps({"accuracy": [0.9]}),
    "a list": lambda trace: pickle.dumps([1, 2]),
    "an array": lambda trace: pickle.dumps(np.zeros(3)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_not_one_of_ours_is_refused_and_runs_nothing(make, tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "grid.pkl"
    path.write_bytes(make(trace))
    with pytest.raises(ValueError, match="grid") as raised:
        load_results("grid", directory=tmp_path)
    assert str(path) in str(raised.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "nested", "protocol 0"])
def test_the_hostile_files_are_hostile(name, tmp_path):
    # What the test above is worth: the standard reader does run them.
    trace = tmp_path / "trace"
    pickle.load(io.BytesIO(HOSTILE[name](trace)))
    assert trace.exists()


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "grid.pkl").write_bytes(pickle.dumps({**whole({}), "format_version": 3}))
    with pytest.raises(ValueError, match=r"grid\.pkl has format version 3.*update"):
        load_results("grid", directory=tmp_path)


def test_arrays_written_by_an_older_numpy_are_read(tmp_path):
    path = save_results(
        "grid", {"a": np.arange(3.0), "b": np.float64(2.5)}, settings={}, directory=tmp_path
    )
    # Protocol 3 writes names out, without lengths that would have to be mended.
    content = pickle.dumps({**pickle.loads(path.read_bytes()), "format_version": 1}, protocol=3)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    path.write_bytes(old)
    assert_equal(
        load_results("grid", directory=tmp_path).results,
        {"a": np.arange(3.0), "b": np.float64(2.5)},
    )


def test_a_missing_file_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"results/quick/grid\.pkl") as raised:
        load_results("grid")
    assert str(tmp_path) in str(raised.value)


def test_every_changed_byte_is_noticed(tmp_path):
    path = save_results("grid", {"a": np.arange(9.0)}, settings={"b": 1}, directory=tmp_path)
    whole_file = path.read_bytes()
    for place in range(len(whole_file)):
        changed = bytes([whole_file[place] ^ 1])
        path.write_bytes(whole_file[:place] + changed + whole_file[place + 1 :])
        with pytest.raises(ValueError, match="is damaged|is cut short"):
            load_results("grid", directory=tmp_path)
    # Beyond the pickle itself there is nothing that could be taken for an old file's.
    path.write_bytes(whole_file[: whole_file.rindex(b"\nsha256")])
    with pytest.raises(ValueError, match="is cut short"):
        load_results("grid", directory=tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "paper").glob("*.pkl")), ids=str)
def test_the_committed_results_are_read_and_tabulated(path):
    saved = load_results(path.stem, directory=path.parent)
    frame = saved.to_frame()
    if set(saved.results) == {"rows"}:
        assert len(frame) == len(saved.results["rows"])
    else:
        assert {"part", "quantity", "value", "std_error"} <= set(frame.columns)
    assert len(frame) > 0
