import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tiebreak.data import memory
from tiebreak.data.catalog import load_dataset
from tiebreak.errors import DataError


def arrays(shape=(5, 4), **changes):
    generator = np.random.default_rng(0)
    whole = {
        "x_train": generator.integers(0, 256, (6, *shape), dtype=np.uint8),
        "y_train": np.arange(6) % 2,
        "x_test": generator.integers(0, 256, (4, *shape), dtype=np.uint8),
        "y_test": np.arange(4) % 2,
    }
    return whole | changes


def load(tmp_path, **content):
    path = tmp_path / "mine.npz"
    np.savez(path, **content)
    return load_dataset(f"arrays:{path}")


@pytest.mark.parametrize(
    ("shape", "order"),
    [((5, 4), None), ((5, 4, 3), (0, 3, 1, 2)), ((5, 4, 1), (0, 3, 1, 2)), ((3, 5, 4), (0, 1, 2, 3))],
)
def test_axes_are_put_in_order(tmp_path, shape, order):
    content = arrays(shape)
    expected = content["x_train"][:, None] if order is None else content["x_train"].transpose(order)
    data = load(tmp_path, **content)
    assert np.array_equal(data.train_images.numpy(), expected) and data.notes == ()
    assert data.name == "arrays:mine.npz" and data.class_names == ("0", "1")


def test_of_two_possible_channel_axes_the_last_is_taken_and_noted(tmp_path):
    data = load(tmp_path, **arrays((3, 7, 3)))
    assert data.image_shape == (3, 3, 7)
    assert data.notes == (
        "arrays:mine.npz: shape (6, 3, 7, 3) could be read in two ways; "
        "its last axis was taken as the channel",
    )


def test_fortran_order_class_names_and_column_labels(tmp_path):
    content = arrays(class_names=np.array(["cat", "dog"]), y_train=(np.arange(6) % 2)[:, None].astype("u1"))
    content["x_train"] = np.asfortranarray(content["x_train"])
    data = load(tmp_path, **content)
    assert data.class_names == ("cat", "dog") and data.train_labels.tolist() == [0, 1] * 3
    assert torch.equal(data.train_images[:, 0], torch.tensor(arrays()["x_train"]))


def notes(*texts):
    return tuple(f"arrays:mine.npz: {text}" for text in texts)


def full_range():
    """The arrays with 0 and 255 among the pixels."""
    whole = arrays()
    whole["x_train"][0, 0, :2] = 0, 255
    return whole


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (
            lambda x: x.astype(np.float32) / 255,
            "pixels of type float32 from 0 to 1 were taken as 0 to 1, scaled to 0..255",
        ),
        (lambda x: x / 255, "pixels of type float64 from 0 to 1 were taken as 0 to 1, scaled to 0..255"),
        (
            lambda x: x + 0.3 * (x < 255),
            "pixels of type float64 from 0.3 to 255 were taken as 0 to 255, rounded",
        ),
        (lambda x: x.astype(int), "pixels of type int64 from 0 to 255 were taken as 0 to 255"),
        (
            lambda x: x.astype(np.uint16) * 256 + 7,
            "16-bit pixels were scaled from 0..65,535 to 0..255 (the highest value found: 65,287)",
        ),
    ],
)
def test_pixels_of_another_type_give_the_same_images(tmp_path, change, note):
    content = full_range()
    expected = torch.from_numpy(content["x_train"])[:, None]
    content |= {key: change(content[key]) for key in ("x_train", "x_test")}
    data = load(tmp_path, **content)
    assert torch.equal(data.train_images, expected) and data.notes == notes(note)


def test_black_and_white_is_scaled(tmp_path):
    content = arrays()
    content |= {key: content[key] > 100 for key in ("x_train", "x_test")}
    data = load(tmp_path, **content)
    assert torch.equal(data.test_images[:, 0] == 255, torch.from_numpy(content["x_test"]))


def test_one_rule_holds_for_all_parts(tmp_path):
    """Dark test images are not taken to be from 0 to 1."""
    content = arrays(x_test=np.ones((4, 5, 4)))
    data = load(tmp_path, **content | {"x_train": content["x_train"].astype(float)})
    assert data.test_images.max() == 1


@pytest.mark.parametrize(
    ("labels", "names", "numbers", "note"),
    [
        ([1, 2, 3], None, [0, 1, 2], "labels 1 to 3 were taken as 3 classes"),
        ([0, 5, 10], None, [0, 1, 2], "labels 0 to 10 were taken as 3 classes"),
        ([99, 104, 99], None, [0, 1, 0], "labels 99 to 104 were taken as 2 classes"),
        (["dog", "cat", "fox"], None, [1, 0, 2], "the labels are texts; they were taken as 3 classes"),
        (["b", "a", "b"], ["c", "b", "a"], [1, 2, 1], "the labels are texts; they were taken as 2 classes"),
        ([1, 2, 3], ["a", "b", "c"], [0, 1, 2], "labels 1 to 3 were taken as the 3 classes named"),
        ([[0, 1], [1, 0], [0, 1]], None, [1, 0, 1], "labels were read from one-hot rows of 2 columns"),
        (
            [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]],
            None,
            [1, 0, 0],
            "labels were read from one-hot rows of 2 columns",
        ),
    ],
)
def test_labels_of_other_kinds_are_numbered_and_told(tmp_path, labels, names, numbers, note):
    given = {} if names is None else {"class_names": np.array(names)}
    data = load(
        tmp_path, **arrays(y_train=np.array(labels * 2), y_test=np.array([*labels, labels[0]]), **given)
    )
    assert data.train_labels.tolist() == numbers * 2 and data.test_labels.tolist() == [*numbers, numbers[0]]
    assert notes(note)[0] in data.notes
    if names is None and np.ndim(labels) == 1:
        assert data.class_names == tuple(sorted(set(map(str, labels)), key=lambda each: (len(each), each)))


@pytest.mark.parametrize(
    "spelling",
    [
        {"x": "X_{}", "y": "Y_{}"},
        {"x": "{}_images", "y": "{}_labels"},
        {"x": "{}X", "y": "{}Y"},
        {"x": "{}_data", "y": "{}_targets"},
    ],
)
def test_other_names_of_the_arrays_are_known_and_told(tmp_path, spelling):
    content = {spelling[key[0]].format(key[2:]): array for key, array in arrays().items()}
    data = load(tmp_path, **content)
    assert torch.equal(data.train_images[:, 0], torch.tensor(arrays()["x_train"]))
    assert data.notes == notes(
        *(f"{their!r} was taken as {our}" for our, their in zip(arrays(), content, strict=True))
    )


def test_a_validation_part_is_used_as_such(tmp_path):
    """The form in which MedMNIST comes."""
    content = arrays(x_val=np.full((2, 5, 4), 7, np.uint8), y_val=np.array([[1], [0]]))
    data = load(tmp_path, **content)
    assert len(data.train) == 8 and data.own_val == 2
    val = data.split(2, seed=0).val
    assert val.targets.tolist() == [1, 0] and (val.images[val.indices] == 7).all()


ONE_HOT = np.eye(6, dtype=int)
WRONG = {
    "standardised": (
        {"x_train": np.full((6, 5, 4), -1.5)},
        r"the images have type float64 from -1\.5 to 2\d\d, expected pixels from 0 to 255, from 0 to 1 or",
    ),
    "not a number": ({"x_train": np.full((6, 5, 4), np.nan)}, "the images have type float64 from nan to nan"),
    "complex": ({"x_train": np.zeros((6, 5, 4), complex)}, "the images have type complex128, expected"),
    "too high": ({"x_train": np.full((6, 5, 4), 70_000)}, "the images have type int64 from . to 70000"),
    "texts": (
        {"x_train": np.full((6, 5, 4), "a")},
        "the images have type <U3, expected|have type <U1, expected",
    ),
    "objects": (
        {"y_test": np.array([None] * 4)},
        r"'y_test\.npy' holds Python objects \(a pickle\), which is refused.*dtype=str",
    ),
    "flat rows": (
        {"x_test": np.zeros((4, 20), np.uint8)},
        r"x_test has shape \(4, 20\), expected \(N, H, W\).*x\.reshape\(len\(x\), height, width\)",
    ),
    "no images": ({"x_test": np.zeros((0, 5, 4), np.uint8)}, r"x_test has shape \(0, 5, 4\)"),
    "sizes differ": ({"x_test": np.zeros((4, 5, 5), np.uint8)}, r"differ in shape: \(5, 4\) and \(5, 5\)"),
    "rows of no kind": (
        {"y_train": ONE_HOT + ONE_HOT[::-1]},
        r"y_train has type int64 and shape \(6, 6\), expected one whole number or text an image, or one-hot",
    ),
    "float labels": ({"y_train": np.zeros(6)}, r"y_train has type float64 .* y\.astype\(int\)"),
    "byte labels": ({"y_train": np.array([b"a"] * 6)}, r"y_train has type \|S1 .* y\.astype\(str\)"),
    "texts and numbers": ({"y_train": np.array(["a"] * 6)}, "some labels are texts and some numbers"),
    "negative labels": ({"y_train": np.arange(6) - 1}, "y_train holds -1 to 4, expected labels from 0 on"),
    "no classes": ({"y_train": np.arange(6) + 99}, "8 different labels up to 104 on 10 images: no classes"),
    "nameless label": (
        {"class_names": np.array(["a", "b"]), "y_train": np.arange(6)},
        "label 5 in the training part, but there are 2 classes",
    ),
    "nameless text": (
        {
            "class_names": np.array(["a", "b"]),
            "y_train": np.array(["a", "x"] * 3),
            "y_test": np.array(["a"] * 4),
        },
        "'x' are labels but not among class_names",
    ),
    "same name": (
        {"class_names": np.array(["a", "a"])},
        "class_names must be texts, each one once, got 'a', 'a'",
    ),
    "names as bytes": ({"class_names": np.array([b"a", b"b"])}, "class_names must be a list of strings"),
    "one class": (
        {"y_train": np.zeros(6, int), "y_test": np.zeros(4, int)},
        "needs at least 2 classes, got 1",
    ),
    "validation labels missing": (
        {"x_val": np.zeros((2, 5, 4), np.uint8)},
        "of x_val and y_val one is missing",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_refuses_wrong_arrays_in_one_line(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as e:
        load(tmp_path, **arrays(**changes))
    assert "mine.npz" in str(e.value) and len(str(e.value).splitlines()) == 1


def test_five_channels_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected 1 or 3 channels on its second or last axis"):
        load(tmp_path, **arrays((5, 4, 5)))


def test_a_missing_array_is_named_with_the_nearest(tmp_path):
    content = arrays()
    content["x_trian"] = content.pop("x_train")
    with pytest.raises(DataError, match=r'mine\.npz: x_train is missing\. Did you mean "x_trian"\?'):
        load(tmp_path, **content)


def test_two_arrays_that_could_be_the_same_are_refused(tmp_path):
    content = arrays()
    content["X_train"] = content["train_images"] = content.pop("x_train")
    with pytest.raises(
        DataError, match=r"'X_train', 'train_images' could all be x_train\. Leave one of them"
    ):
        load(tmp_path, **content)


def test_what_memory_cannot_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 500)
    with pytest.raises(DataError, match=r"mine\.npz: the images need .* of memory, more than half"):
        load(tmp_path, **arrays())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"arrays: there is no file .*gone\.npz"):
        load_dataset(f"arrays:{tmp_path}/gone.npz")


def good():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    return buffer.getvalue()


def lying_header(shape="(1000000000000000,)"):
    """A header that announces a petabyte before two bytes of content."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': %b, }\n" % shape.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in arrays():
            member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"ab"
            archive.writestr(f"{key}.npy", member)
    return buffer.getvalue()


def lying_directory():
    """A file of a few hundred bytes whose members announce a gigabyte each, in header and directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in arrays():
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000, 1000, 1000), }\n"
            member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(f"{key}.npy", member)
            archive.getinfo(f"{key}.npy").file_size = len(member) + 10**9
    return buffer.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut short": good()[:-40],
    "an .npy file": b"\x93NUMPY\x01\x00",
    "lying header": lying_header(),
    "a shape of truths": lying_header("(True, 2, 1)"),
    "a negative shape": lying_header("(-1, -2, 1)"),
    "a packed size that lies": lying_directory(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_refuses_broken_files_in_one_line(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"^mine\.npz: expected a whole \.npz file as numpy\.savez writes it.*x_train=x, y_train=y",
    ):
        load_dataset(f"arrays:{tmp_path}/mine.npz")


@example([(1853, 10)])  # a line break in the name of an array
@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files_give_a_data_set_or_a_data_error(tmp_path, changes):
    content = bytearray(good())
    for position, byte in changes:
        content[position % len(content)] = byte
    (tmp_path / "mine.npz").write_bytes(content)
    try:
        load_dataset(f"arrays:{tmp_path}/mine.npz")
    except DataError as error:
        assert len(str(error).splitlines()) == 1
