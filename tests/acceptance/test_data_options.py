"""Images that are not as they should be, from the command line, a study file and Python to every report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiebreak as tb

NOTES = (
    "folder:pets: 1 unreadable image was skipped, the first: 'train/dog/cut.png'",
    "folder:pets: left out, as they are no pictures: 'classes.txt'",
    "folder:pets: 12 of 39 images have transparent pixels, laid over white",
)
FEW = "3 validation images: too few to choose an epoch or a setting by (one is 33.3%)"
FAST = ("--seeds", 1, "--epochs", 1, "--executor", "serial")


@pytest.fixture
def pets(tmp_path) -> Path:
    """A folder of transparent images, one of which is cut short, and a list."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for number in range(count - (name == "dog" and part == "train")):
                pixels = generator.integers(0, 256, (8, 8, 4), dtype=np.uint8)
                pixels[:, :, 3] = 0 if number < 3 else 255
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "pets/train/classes.txt").write_text("cat dog")
    whole = (tmp_path / "pets/train/dog/0.png").read_bytes()
    (tmp_path / "pets/train/dog/cut.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "pets"


def test_what_was_decided_about_images_is_in_terminal_json_and_page(tiebreak, pets):
    refused = tiebreak("compare", "linear", "--dataset", "folder:pets", *FAST)
    assert refused.status == 2 and "skip such files with --skip-bad-images." in refused.stderr
    done = tiebreak("compare", "linear", "--dataset", "folder:pets", "--skip-bad-images", *FAST, "--json")
    answer = json.loads(done.stdout)
    told = answer["data"]["notes"]
    assert set(NOTES) <= set(told) and told[-1] == FEW
    printed, page = " ".join(done.stderr.split()), (Path(answer["study"]) / "report.html").read_text()
    for note in told:
        assert f"Note: {note}" in printed
        assert note.replace("'", "&#39;") in page


def test_a_study_file_and_python_can_say_it_too(tiebreak, pets, tmp_path, monkeypatch):
    (tmp_path / "study.toml").write_bytes(
        b'\xef\xbb\xbfcontenders = ["linear"]\nseeds = 1\nrecipe.epochs = 1\nexecution.executor = "serial"\n'
        b'data = { name = "folder:pets", skip_bad_images = true }\n'
    )
    of_file = json.loads(tiebreak("run", "study.toml", "--json").stdout)["data"]
    assert set(NOTES) <= set(of_file["notes"])
    monkeypatch.setenv("HOME", str(tmp_path))
    study = tb.compare(
        ["linear"],
        pets,
        skip_bad_images=True,
        seeds=1,
        epochs=1,
        executor="serial",
        out="~/study",
        progress=False,
    )
    assert study.folder == tmp_path / "study" and study.results.examples.fingerprint == of_file["fingerprint"]


def test_commands_that_only_look_can_skip_images_too(tiebreak, pets):
    for command in (("data", "show", "folder:pets"), ("models", "--dataset", "folder:pets")):
        assert tiebreak(*command).status == 2
        assert tiebreak(*command, "--skip-bad-images").status == 0
    shown = tiebreak("data", "show", "folder:pets", "--skip-bad-images").stdout
    assert all(f"note         {note}" in shown for note in NOTES)


def test_a_name_with_colons_is_no_picture(tiebreak, pets):
    pets.rename(pets.with_name("one:"))
    assert "\nimages " in tiebreak("data", "show", "folder:one:", "--skip-bad-images").stdout
    assert "folder:one:\n" in tiebreak("data", "show", "folder:one:", "--skip-bad-images").stdout
