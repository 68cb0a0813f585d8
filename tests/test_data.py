"""Data sets: what load_data reads and refuses, and what split_data promises for any seed and size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.data import BUILT_IN, Dataset, Split, load_data, split_data
from bayes_snn.errors import InputError
from tests.helpers.refusals import refusal

Write = Callable[[str | bytes], Path]
GOOD = "a,b,kind\n1,2,p\n3,4,q\n5,6,p\n7,8,q\n"
no_deadline = settings(deadline=None)
seeds = st.integers(0, 2**32 - 1)
class_sizes = st.lists(st.integers(5, 40), min_size=2, max_size=5)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def make_dataset(sizes: list[int]) -> Dataset:
    """Samples of `sizes` per class; the first feature is the number of the sample, which tells them apart."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    inputs = np.column_stack([np.arange(len(labels), dtype=float), rng.normal(size=(len(labels), 2))])
    return Dataset("made", inputs, labels, ("number", "x", "y"), tuple(f"c{k}" for k in range(len(sizes))))


def sample_numbers(split: Split, full: Split) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training and test samples, found by undoing the standardisation.

    `full` holds all samples, so their order gives the numbers; `split` is another of the same test samples.
    """
    ranks = np.argsort(np.argsort(np.concatenate([full.train_inputs[:, 0], full.test_inputs[:, 0]])))
    test = ranks[full.n_train :]
    std, mean = np.polyfit(split.test_inputs[:, 0], test, 1)
    train = split.train_inputs[:, 0] * std + mean
    np.testing.assert_allclose(split.test_inputs[:, 0] * std + mean, test, atol=1e-6)
    np.testing.assert_allclose(train, np.rint(train), atol=1e-6)
    return np.rint(train).astype(int), test


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("breast_cancer", (569, 30), ("malignant", "benign")),
        ("iris", (150, 4), ("setosa", "versicolor", "virginica")),
        ("wine", (178, 13), ("class_0", "class_1", "class_2")),
        ("digits", (1797, 64), tuple("0123456789")),
        ("penguins", (342, 4), ("Adelie", "Chinstrap", "Gentoo")),
    ],
)
def test_built_in_sets(name: str, shape: tuple[int, int], classes: tuple[str, ...]) -> None:
    dataset = load_data(name)
    assert dataset.name == name
    assert dataset.inputs.shape == shape
    assert (dataset.inputs.dtype, dataset.labels.dtype) == (np.float64, np.int64)
    assert dataset.class_names == classes
    assert len(dataset.feature_names) == shape[1]
    assert all(type(label) is str for label in dataset.feature_names + dataset.class_names)
    assert set(dataset.labels.tolist()) == set(range(len(classes)))


def test_penguins_are_those_that_were_published() -> None:
    dataset = load_data("penguins")
    assert dataset.feature_names == ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    assert np.bincount(dataset.labels).tolist() == [151, 68, 123]
    means = [dataset.inputs[dataset.labels == species].mean(axis=0) for species in range(3)]
    expected = [[38.791, 18.346, 189.954, 3700.662], [48.834, 18.421, 195.824, 3733.088]]
    np.testing.assert_allclose(means, [*expected, [47.505, 14.982, 217.187, 5076.016]], atol=5.1e-4)


def test_breast_cancer_splits_398_to_171() -> None:
    split = split_data(load_data())
    assert (split.n_train, split.n_test, split.n_features, split.n_classes) == (398, 171, 30, 2)


def test_csv_is_read_as_written(write: Write) -> None:
    dataset = load_data(str(write(GOOD)), "kind")
    assert (dataset.name, dataset.feature_names, dataset.class_names) == ("mine", ("a", "b"), ("p", "q"))
    np.testing.assert_array_equal(dataset.inputs, [[1, 2], [3, 4], [5, 6], [7, 8]])
    np.testing.assert_array_equal(dataset.labels, [0, 1, 0, 1])
    assert (dataset.inputs.dtype, dataset.labels.dtype) == (np.float64, np.int64)


@given(st.lists(st.floats(-1e100, 1e100), min_size=4, max_size=12), st.booleans())
@no_deadline
def test_csv_written_by_pandas_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], windows: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    kinds = ["yes", "no"] * len(values)
    frame = pd.DataFrame({"kind": kinds[: len(values)], "x": values, "y": range(len(values))})
    frame.to_csv(path, index=False, lineterminator="\r\n" if windows else "\n")
    dataset = load_data(path, "kind")
    np.testing.assert_array_equal(dataset.inputs[:, 0], values)
    assert [dataset.class_names[k] for k in dataset.labels] == list(frame["kind"])


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (["10", "9", "10", "9"], ("9", "10"), [1, 0, 1, 0]),  # in numerical order
        (["1", "1.0", "-2", "-2.0"], ("-2", "1"), [1, 1, 0, 0]),
        (["True", "False", "False", "True"], ("False", "True"), [1, 0, 0, 1]),
        (["b", "10", "9", "b", "10", "9"], ("10", "9", "b"), [2, 0, 1, 2, 0, 1]),  # text as soon as one is
        (["9007199254740992", "9007199254740993"] * 2, None, [0, 1, 0, 1]),  # one and the same as a float
        ([" p", "p ", "q", '" q"'], ("p", "q"), [0, 0, 1, 1]),
        (["1_0", "10", "1_0", "10"], ("10", "1_0"), [1, 0, 1, 0]),
    ],
)
def test_kinds_of_labels(write: Write, labels: list[str], classes: tuple | None, codes: list[int]) -> None:
    dataset = load_data(write("x,kind\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))), "kind")
    assert classes is None or dataset.class_names == classes
    np.testing.assert_array_equal(dataset.labels, codes)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,  # Excel
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", ", "),
        GOOD.replace("\n", "\n\n")[:-1] + "\n,,\n",
        "".join(line + ",\n" for line in GOOD.splitlines()),
        GOOD.replace("kind\n", "kind,\n"),  # the Wisconsin data on Kaggle has such a header
        GOOD.replace("a,b", '"a", "b"').replace("4,q", '4, "q"'),
    ],
)
def test_harmless_oddities_of_csv_files(write: Write, content: str) -> None:
    dataset = load_data(write(content), "kind")
    assert dataset.feature_names == ("a", "b")
    np.testing.assert_array_equal(dataset.inputs, [[1, 2], [3, 4], [5, 6], [7, 8]])
    np.testing.assert_array_equal(dataset.labels, [0, 1, 0, 1])


def test_any_file_and_any_case_of_csv_is_read(write: Callable[..., Path]) -> None:
    for name in ("mine.CSV", "table.txt", "data"):
        assert load_data(write(GOOD, name), "kind").name == name.split(".")[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ["cannot be read", "header"]),
        ("\n\n\n", ["cannot be read"]),
        (b"\xff\xfe\x00a", ["cannot be read", "UTF-8"]),
        ('a,kind\n"1,p\n', ["cannot be read"]),
        (GOOD.replace("3,4,q", "3,4,q,9"), ["cannot be read", "line 3"]),
        ("a,b,kind\n", ["no samples"]),
        ("kind\np\nq\np\nq\n", ["no features"]),
        (GOOD.replace("kind", "sort"), ["'kind'", "a, b, sort"]),
        (GOOD.replace("kind", "kinds"), ["did you mean 'kinds'?"]),
        (GOOD.replace("a,b", "a,a"), ["several columns 'a'"]),
        (GOOD.replace("a,b", ",b"), ["Column 1", "no name"]),
        (GOOD.replace("3,4", "?,4").replace("5,6", "red,blue"), ["Line 3, column 'a'", "'?'", "'a', 'b'"]),
        (GOOD.replace("3,4", ",4"), ["Line 3, column 'a'", "holds ''", "in 'a',", "--missing"]),
        (GOOD.replace("3,4", "3,NaN"), ["Line 3, column 'b'", "holds 'NaN'", "in 'b',", "--missing"]),
        (GOOD.replace("5,6", "5,-inf"), ["Line 4, column 'b'", "-inf"]),
        (GOOD.replace("5,6", "5,1e101"), ["Line 4, column 'b'", "1e101"]),
        (GOOD.replace("5,6", '5,"1,5"'), ["Line 4, column 'b'", "1,5", "--decimal"]),
        (GOOD.replace("5,6,p", "5"), ["Line 4, column 'b'"]),
        (GOOD.replace("5,6,p", "\n\n5,x,p"), ["Line 6, column 'b'"]),  # blank lines count
        (GOOD.replace("3,4,q", '3,4,"q\nr\ns"').replace("5,6", "5,x"), ["Line 6, column 'b'"]),
        (GOOD.replace("5,6,p", "5,6,"), ["Line 4, column 'kind'", "missing"]),
        (GOOD.replace("5,6,p", "5,6,None"), ["Line 4, column 'kind'", "'None'"]),
        (GOOD.replace("q", "p"), ["1 different labels", "two classes"]),
        (GOOD.replace("5,6,p", "5,6,r"), ["3 different labels in 4 rows"]),
        (GOOD + "9,9,rare\n9,9,q\n", ["'rare'", "training and test"]),
        ("a,kind\n1,0.5\n2,0.5\n3,1\n4,1\n", ["continuous", "'0.5'"]),
        ("a,kind\n1,1\n2,1\n3,inf\n4,inf\n", ["continuous", "'inf'"]),
        (
            "a,kind\n" + "".join(f"1,{i}\n" for i in range(10)),
            ["10 different labels in 10 rows", "continuous"],
        ),
    ],
)
def test_refused_files(write: Write, content: str | bytes, says: list[str]) -> None:
    path = write(content)
    message = refusal(load_data, path, "kind")
    assert str(path) in message
    for words in says:
        assert words in message


def test_refused_names_and_targets(write: Write) -> None:
    unknown = refusal(load_data, "brest_cancer")
    assert all(name in unknown for name in BUILT_IN)
    assert "CSV" in unknown
    assert "did you mean 'breast_cancer'?" in unknown
    assert "No such file" in refusal(load_data, "no/such/file.csv", "kind")
    assert "name one of 'a', 'b', 'kind'" in refusal(load_data, write(GOOD))
    assert "'kind'" in refusal(load_data, "iris", "kind")
    assert "breast_cancer" in refusal(load_data, 5)


def test_folder_is_no_csv_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert "cannot be read" in refusal(load_data, folder, "kind")


@given(class_sizes, st.floats(0.2, 0.6), seeds)
@no_deadline
def test_a_split_parts_all_samples(sizes: list[int], test_size: float, seed: int) -> None:
    dataset = make_dataset(sizes)
    split = split_data(dataset, test_size=test_size, seed=seed)
    train, test = sample_numbers(split, split)
    assert sorted([*train, *test]) == list(range(len(dataset.labels)))
    assert split.n_test == int(np.ceil(test_size * len(dataset.labels)))
    np.testing.assert_array_equal(split.train_labels, dataset.labels[train])
    np.testing.assert_array_equal(split.test_labels, dataset.labels[test])
    assert set(split.train_labels.tolist()) == set(range(len(sizes)))
    share = np.bincount(split.test_labels, minlength=len(sizes)) / split.n_test
    np.testing.assert_allclose(share, np.array(sizes) / sum(sizes), atol=2 / split.n_test)


@given(class_sizes, seeds, st.data())
@no_deadline
def test_training_subsets(sizes: list[int], seed: int, data: st.DataObject) -> None:
    dataset = make_dataset(sizes)
    full = split_data(dataset, seed=seed)
    small, large = sorted(data.draw(st.lists(st.integers(len(sizes), full.n_train), min_size=2, max_size=2)))
    smaller, larger = (split_data(dataset, n, seed=seed) for n in (small, large))
    numbers = [sample_numbers(split, full) for split in (smaller, larger, full)]
    assert [len(train) for train, _ in numbers] == [small, large, full.n_train]
    assert set(numbers[0][0]) <= set(numbers[1][0]) <= set(numbers[2][0])
    assert all((test == numbers[2][1]).all() for _, test in numbers)
    np.testing.assert_array_equal(smaller.train_labels, dataset.labels[numbers[0][0]])
    counts = np.bincount(smaller.train_labels, minlength=len(sizes))
    assert counts.min() >= 1
    # stratified: the share of each class, unless rare classes were given their one sample
    quota = small * np.bincount(full.train_labels) / full.n_train
    assert (np.abs(counts - quota) <= len(sizes)).all()


def test_rare_class_is_in_the_smallest_subset() -> None:
    split = split_data(make_dataset([300, 4, 200]), n_train=3)
    assert sorted(split.train_labels.tolist()) == [0, 1, 2]


def test_full_subset_is_the_whole_training_part() -> None:
    whole, subset = split_data(load_data("wine")), split_data(load_data("wine"), n_train=124)
    np.testing.assert_array_equal(whole.train_inputs, subset.train_inputs)
    np.testing.assert_array_equal(whole.train_labels, subset.train_labels)


def test_seed_decides_the_split() -> None:
    dataset = load_data("iris")
    first, again, other = (split_data(dataset, 20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train_inputs, again.train_inputs)
    np.testing.assert_array_equal(first.test_inputs, again.test_inputs)
    assert not np.array_equal(first.train_inputs, other.train_inputs)
    made = make_dataset([50, 50])
    tested = [sample_numbers(split, split)[1] for split in (split_data(made, seed=seed) for seed in (1, 2))]
    assert set(tested[0]) != set(tested[1])


@pytest.mark.parametrize("n_train", [None, 10, 60])
def test_standardised_by_the_training_samples_alone(n_train: int | None) -> None:
    split = split_data(load_data("iris"), n_train)
    np.testing.assert_allclose(split.train_inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(split.train_inputs.std(axis=0), 1)
    assert np.abs(split.test_inputs.mean(axis=0)).max() > 1e-3


def test_test_samples_have_no_say_in_the_standardisation() -> None:
    dataset = make_dataset([20, 20])
    split = split_data(dataset)
    _, test = sample_numbers(split, split)
    moved = dataset.inputs.copy()
    moved[test] += 1000
    changed = split_data(Dataset("moved", moved, dataset.labels, dataset.feature_names, dataset.class_names))
    np.testing.assert_array_equal(changed.train_inputs, split.train_inputs)
    assert (changed.test_inputs > split.test_inputs).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, -1e99])
def test_constant_features_are_centred_only(value: float) -> None:
    dataset = make_dataset([20, 20])
    split = split_data(dataset)
    inputs = dataset.inputs.copy()
    inputs[:, 1] = value
    inputs[sample_numbers(split, split)[1][0], 1] = value + 2.5
    split = split_data(Dataset("flat", inputs, dataset.labels, dataset.feature_names, dataset.class_names))
    np.testing.assert_array_equal(split.train_inputs[:, 1], 0)
    assert split.test_inputs[0, 1] == (value + 2.5) - value
    np.testing.assert_array_equal(split.test_inputs[1:, 1], 0)


@given(st.floats(1e-170, 1e100), st.integers(2, 28))
@no_deadline
def test_standardisation_stays_finite_at_any_scale(scale: float, n_train: int) -> None:
    dataset = make_dataset([20, 20])
    scaled = dataset.inputs / np.abs(dataset.inputs).max() * scale
    split = split_data(Dataset("scaled", scaled, dataset.labels, dataset.feature_names, dataset.class_names), n_train)
    assert np.isfinite(split.train_inputs).all()
    assert np.isfinite(split.test_inputs).all()


def test_arrays_are_read_only_and_the_dataset_is_left_alone() -> None:
    dataset = load_data("iris")
    before = dataset.inputs.copy()
    for n_train in (None, 30):
        split = split_data(dataset, n_train)
        for array in (split.train_inputs, split.train_labels, split.test_inputs, split.test_labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    np.testing.assert_array_equal(dataset.inputs, before)
    dataset.inputs[0] = 0  # still the user's own to change


@pytest.mark.parametrize("n_train", [0, -5, 1, 106, 10**9, 20.0, True, "20", np.float64(20)])
def test_refused_n_train(n_train: object) -> None:
    message = refusal(split_data, load_data("iris"), n_train)
    assert repr(n_train) in message
    assert "105" in message


@pytest.mark.parametrize("test_size", [0, 1, 0.0, 1.0, -0.3, 1.5, float("nan"), True, "0.3", None])
def test_refused_test_size(test_size: object) -> None:
    assert "test_size" in refusal(split_data, load_data("iris"), test_size=test_size)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, None, "0"])
def test_refused_seed(seed: object) -> None:
    assert "seed" in refusal(split_data, load_data("iris"), seed=seed)


@pytest.mark.parametrize(
    ("sizes", "test_size"),
    [([50, 50], 0.001), ([50, 50], 0.999), ([50, 1], 0.3), ([98, 2], 0.9), ([5, 0], 0.5)],
)
def test_split_that_cannot_have_every_class(sizes: list[int], test_size: float) -> None:
    assert f"test_size {test_size:g}" in refusal(split_data, make_dataset(sizes), test_size=test_size)


def test_numpy_integers_and_floats_are_numbers() -> None:
    split = split_data(load_data("iris"), np.int64(20), np.float64(0.4), np.int32(3))
    assert (split.n_train, split.n_test) == (20, 60)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=5), st.floats(0, 1), st.integers(-1, 60), seeds)
@no_deadline
def test_nothing_but_an_input_error_is_raised(sizes: list[int], test_size: float, n_train: int, seed: int) -> None:
    try:
        split = split_data(make_dataset(sizes), n_train, test_size, seed)
    except InputError:
        return
    assert split.n_train == n_train
    assert set(split.train_labels.tolist()) == set(range(len(sizes)))


def test_a_bias_is_one_more_input_of_ones():
    split = split_data(load_data("iris"))
    wider = split.with_bias()
    assert (split.n_inputs, wider.n_inputs, wider.n_features) == (4, 5, 4)
    assert wider.input_names == (*split.feature_names, "bias")
    assert split.input_names == split.feature_names
    for part in ("train_inputs", "test_inputs"):
        np.testing.assert_array_equal(getattr(wider, part)[:, :4], getattr(split, part))
        assert (getattr(wider, part)[:, 4] == 1).all()
        assert not getattr(wider, part).flags.writeable
    assert wider.with_bias() is wider
    assert "4 features and a bias, 3 classes" in repr(wider)


def test_a_bias_beside_a_feature_of_its_name(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("bias,kind\n" + "1.5,p\n2.5,q\n0.5,p\n3.5,q\n" * 5)
    assert split_data(load_data(file, "kind")).with_bias().input_names == ("bias", "bias_")
