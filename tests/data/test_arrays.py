import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


WRONG = {
    "floats": (
        {"x_train": np.zeros((6, 5, 4))},
        r"x_train has type float64, expected uint8 .*save \(x \* 255\)",
    ),
    "objects": (
        {"y_test": np.array([None] * 4)},
        r"y_test\.npy holds Python objects \(a pickle\), which is refused",
    ),
    "one row": ({"x_test": np.zeros((4, 20), np.uint8)}, r"x_test has shape \(4, 20\), expected \(N, H, W\)"),
    "no images": ({"x_test": np.zeros((0, 5, 4), np.uint8)}, r"x_test has shape \(0, 5, 4\)"),
    "sizes differ": ({"x_test": np.zeros((4, 5, 5), np.uint8)}, r"differ in shape: \(5, 4\) and \(5, 5\)"),
    "one-hot": (
        {"y_train": np.eye(6, dtype=int)},
        r"expected one integer an image. One-hot rows .* y\.argmax\(1\)",
    ),
    "float labels": ({"y_train": np.zeros(6)}, "y_train has type float64"),
    "negative labels": ({"y_train": np.arange(6) - 1}, "y_train holds -1 to 4, expected labels from 0 on"),
    "far label": ({"y_train": np.arange(6) + 99}, "label 104 is higher than there are images"),
    "nameless label": (
        {"class_names": np.array(["a"])},
        "label 1 in the training part, but there are 1 classes",
    ),
    "same name": ({"class_names": np.array(["a", "a"])}, "class_names names a class twice"),
    "names as bytes": ({"class_names": np.array([b"a", b"b"])}, "class_names must be a list of strings"),
    "one class": (
        {"y_train": np.zeros(6, int), "y_test": np.zeros(4, int)},
        "needs at least 2 classes, got 1",
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
    content["xtrain"] = content.pop("x_train")
    with pytest.raises(DataError, match=r'mine\.npz: x_train is missing\. Did you mean "xtrain"\?'):
        load(tmp_path, **content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"arrays: there is no file .*gone\.npz"):
        load_dataset(f"arrays:{tmp_path}/gone.npz")


def good():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    return buffer.getvalue()


def lying_header():
    """A header that announces a petabyte before two bytes of content."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in arrays():
            member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"ab"
            archive.writestr(f"{key}.npy", member)
    return buffer.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut short": good()[:-40],
    "an .npy file": b"\x93NUMPY\x01\x00",
    "lying header": lying_header(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_refuses_broken_files_in_one_line(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"^mine\.npz: expected a whole \.npz file as numpy\.savez writes it"):
        load_dataset(f"arrays:{tmp_path}/mine.npz")


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
