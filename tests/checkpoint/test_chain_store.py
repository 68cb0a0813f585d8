"""The store of a chain: what was saved comes back, what is torn is told, and a full disk takes nothing safe away."""

from __future__ import annotations

import errno
import os
import shutil
import stat

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_snn.checkpoint import chain_store
from bayes_snn.checkpoint.chain_store import ChainStore
from bayes_snn.errors import CheckpointError

TOTAL = 23


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


def record(i):
    """Draw i: arrays of several shapes and dtypes, one with a name that is no file name."""
    random = np.random.default_rng(i)
    weights, count = random.normal(size=(3, 2)), np.int64(i)
    return {"point w_1": weights, "point a/b": random.normal(), "stat 0 n": count, "stat 0 on": np.bool_(i % 2)}


def state(i):
    return {"after": i, "rng": np.random.default_rng(i).bit_generator.state}


def new_store(folder, **options):
    return ChainStore(folder, **{"fit": "f", "chain": 1, "total": TOTAL, "chunk_bytes": 4 * 48, **options})


def extend(store, *ends):
    """Append draws and save at each of these numbers of draws."""
    for end in ends:
        while store.n_draws < end:
            store.append(record(store.n_draws))
        store.save(state(end))


def check(store, n):
    assert store.n_draws == store.n_saved == n
    for i in range(n):
        found, expected = store.draw(i), record(i)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name].dtype == np.asarray(value).dtype
            assert found[name].shape == np.shape(value)
            assert found[name].tobytes() == np.asarray(value).tobytes()


@given(st.lists(st.integers(1, TOTAL), min_size=1, max_size=8, unique=True).map(sorted))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_saved_comes_back(tmp_path, ends):
    shutil.rmtree(tmp_path / "chain", ignore_errors=True)
    for end in ends:  # each in a process of its own, as it were
        store = new_store(tmp_path / "chain")
        found = store.load()
        assert found == (state(store.n_saved) if store.n_saved else None)
        extend(store, end)
    store = new_store(tmp_path / "chain")
    assert store.load() == state(ends[-1])
    check(store, ends[-1])
    assert store.notes == []


def test_draws_that_were_not_saved_are_gone_and_made_again(tmp_path):
    store = new_store(tmp_path)
    extend(store, 6)
    for i in range(6, 11):
        store.append(record(i))
    store._write_chunk([record(i) for i in range(4, 8)])  # killed between a chunk and the state that counts on it
    store = new_store(tmp_path)
    assert store.load() == state(6)
    check(store, 6)
    extend(store, TOTAL)
    store = new_store(tmp_path)
    store.load()
    check(store, TOTAL)


def test_the_chunks_are_zarr_arrays(tmp_path):
    extend(new_store(tmp_path), 9, TOTAL)
    group = zarr.open_group(tmp_path / "draws", mode="r")
    assert len(list(group.array_keys())) == 4
    for name, file in (("point w_1", "point w_1"), ("point a/b", "point a%2Fb"), ("stat 0 n", "stat 0 n")):
        array = group[file]
        assert array.attrs["name"] == name
        assert array.shape == (TOTAL, *np.shape(record(0)[name]))
        np.testing.assert_array_equal(array[:20], [record(i)[name] for i in range(20)])  # 5 chunks of 4; 3 in the state


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_file_falls_back_or_is_told_and_never_gives_a_wrong_draw(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("torn")
    extend(new_store(folder), 5, 11, 14)
    path = data.draw(st.sampled_from(files(folder)))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "gone"]))
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[:place])
    else:
        bit = 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
    store = new_store(folder)
    if path.name.startswith(("c.0", "c.1")):  # a chunk that both states count on
        with pytest.raises(CheckpointError, match=rf"^[^\n]*delete the folder {folder}[^\n]*\.$"):
            store.load()
        return
    found = store.load()
    # the states left are after 11 and 14 draws; of the chunks of 4, only the third can be missed by the older
    assert found == state(store.n_saved)
    assert store.n_saved in (11, 14)
    if store.n_saved == 11:
        assert path.name in ("state-0", "state-1") or path.name.startswith("c.2")
        if kind != "gone" or path.name.startswith("c."):
            [note] = store.notes
            assert "at draw 11" in note
    check(store, store.n_saved)
    extend(store, TOTAL)
    store = new_store(folder)
    assert store.load() == state(TOTAL)
    check(store, TOTAL)


def test_with_both_states_torn_the_way_out_is_told(tmp_path):
    extend(new_store(tmp_path / "chain_1"), 5, 11)
    for name in chain_store.STATES:
        (tmp_path / "chain_1" / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"Chain 1 cannot continue.*delete the folder .*chain_1 and resume again"):
        new_store(tmp_path / "chain_1").load()
    shutil.rmtree(tmp_path / "chain_1")
    assert new_store(tmp_path / "chain_1").load() is None


@pytest.mark.parametrize("other", [{"fit": "g"}, {"chain": 0}])
def test_the_state_of_another_chain_is_not_taken(tmp_path, other):
    extend(new_store(tmp_path), 5)
    with pytest.raises(CheckpointError, match="belongs to another fit or chain"):
        new_store(tmp_path, **other).load()


def test_a_draw_of_another_shape_is_refused(tmp_path):
    store = new_store(tmp_path)
    store.append(record(0))
    with pytest.raises(CheckpointError, match="other arrays than the draws before it"):
        store.append({**record(1), "point w_1": np.zeros(3)})


def test_a_state_that_is_no_plain_value_is_refused(tmp_path):
    store = new_store(tmp_path)
    store.append(record(0))
    with pytest.raises(CheckpointError, match=r"cannot be stored, because a object is no plain value"):
        store.save({"step": object()})


@given(st.integers(1, 9), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_full_disk_is_told_and_what_was_safe_stays_so(tmp_path_factory, n_writes, torn):
    folder = tmp_path_factory.mktemp("full")
    store = new_store(folder / "chain_1")
    extend(store, 3, 9)
    left = n_writes

    def fsync(handle):
        nonlocal left
        left -= 1
        if left < 0:
            if torn and stat.S_ISREG(os.fstat(handle).st_mode):
                os.ftruncate(handle, 5)
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        said = None
        try:
            extend(store, 21)
        except CheckpointError as error:
            said = str(error)
    assert (said is None) == (left >= 0)
    if said is not None:
        assert "No space left on device" in said
        assert f"draws up to 9 of {TOTAL} of chain 1 are safe" in said
        assert f"continue with --resume {folder}" in said
        assert "\n" not in said
    again = new_store(folder / "chain_1")
    assert again.load() == state(again.n_saved)
    assert again.n_saved in (9, 21)  # 21 where only the flush of the folder failed, after the state was renamed
    check(again, again.n_saved)
    assert not list(folder.rglob("*.partial"))
    extend(again, TOTAL)
    check(again, TOTAL)
