"""The panel "Try it": the page's own forward pass against PyTorch's, and everything a person can do to it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiebreak.actions.judge import Verdicts
from tiebreak.actions.live_models import read_weights
from tiebreak.models.catalog import build_model

TOLERANCE = 2e-3  # weights travel in half precision

ANSWERS = """async ([label, seed]) => {
  const model = LIVE.find((m) => m.label === label), answers = [];
  for (let position = 0; position < 100; position++) {
    const answer = await probabilities(model, await sheetPixels(position), seed);
    answers.push([DATA.sheet.images[position].index, answer]);
  }
  return answers;
}"""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("label", ["linear", "mlp", "cnn", "normed", "local", "untied"])
def test_answers_as_pytorch_does(look_kinds: Any, kinds: Verdicts, label: str, seed: int) -> None:
    answers = look_kinds.page.evaluate(ANSWERS, [label, str(seed)])
    assert len({index for index, _ in answers}) == 100
    expected = kinds.stored.predictions(label, seed).test_probs[[index for index, _ in answers]]
    np.testing.assert_allclose([probs for _, probs in answers], expected, atol=TOLERANCE)
    assert expected.max(axis=1).std() > 0.02, "answers that do not vary prove little"


def test_a_model_that_is_no_chain_is_left_out_with_a_sentence(look_kinds: Any) -> None:
    skip, permuted = look_kinds.page.locator("#try .banner").all_inner_texts()
    assert skip == (
        "skip cannot answer here: the page computes layers one after another, and something else (a skip, an "
        "addition, a function) makes the input of head."
    )
    assert permuted == "permuted cannot answer here: its images are changed first (permute-pixels)."
    assert look_kinds.complaints == []


def test_sliders_change_the_answers_as_pytorch_says(look: Any, study: Verdicts) -> None:
    page = look.page
    page.locator("#try-images button").nth(3).click()
    answers = []
    moves = [("permute", "100"), ("rotate", "90"), ("shift", "5"), ("blur", "2"), ("noise", "0.4")]
    for name, value in [("permute", "0"), *moves]:
        page.locator(f"#try-{name}").fill(value)
        pixels = page.evaluate("Array.from(spoil(panel.base, sliderValues()))")
        live = page.evaluate(
            "Promise.all(LIVE.map((m) => probabilities(m, spoil(panel.base, sliderValues()))))"
        )
        for summary, probs in zip(study.contenders, live, strict=True):
            np.testing.assert_allclose(probs, _pytorch(study, summary.label, pixels), atol=TOLERANCE)
        shown = page.locator("#try-bars .number").all_inner_texts()
        assert shown == [f"{100 * p:.0f}%" for pair in zip(*live, strict=True) for p in pair]
        answers.append(live)
    assert all(not np.allclose(one, answers[0], atol=0.01) for one in answers[1:])
    page.locator("#try-reset").click()
    np.testing.assert_allclose(
        page.evaluate("Promise.all(LIVE.map((m) => probabilities(m, spoil(panel.base, sliderValues()))))"),
        answers[0],
    )


def _pytorch(study: Verdicts, label: str, pixels: list[float]) -> np.ndarray:
    data = study.stored.header.data
    contender = next(c for c in study.stored.study.contenders if c.label == label)
    with torch.random.fork_rng():
        model = build_model(contender.model, data.image_shape, len(data.class_names)).eval()
    weights = read_weights(study.stored, label, 0)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    image = (torch.tensor(pixels).view(data.image_shape) - mean) / std
    with torch.no_grad():
        return model(image[None]).softmax(1)[0].numpy()


def test_a_full_permutation_moves_every_pixel_once(look: Any) -> None:
    moved = look.page.evaluate("Array.from(permuteImage(Float32Array.from(range(AREA)), 1))")
    assert sorted(moved) == list(range(28 * 28))
    assert all(value != place for place, value in enumerate(moved))
    half = look.page.evaluate("Array.from(permuteImage(Float32Array.from(range(AREA)), 0.5))")
    assert sum(value != place for place, value in enumerate(half)) == 28 * 14


def test_the_seed_switch_changes_whose_weights_answer(look: Any, study: Verdicts) -> None:
    page = look.page
    position = page.evaluate("Number(document.querySelector('#try-images button').dataset.position)")
    index = page.evaluate(f"DATA.sheet.images[{position}].index")
    page.locator("#try-images button").first.click()
    for seed in ("0", "1"):
        page.select_option("#try-seed", seed)
        expected = study.stored.predictions("mlp", int(seed)).test_probs[index]
        got = page.evaluate(f"sheetPixels({position}).then((pixels) => probabilities(LIVE[0], pixels))")
        np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    page.select_option("#try-seed", "0")


def test_the_random_sample_is_scored(look: Any, study: Verdicts) -> None:
    page = look.page
    page.locator("#try-reset").click()
    sentence = page.locator("#try-sample", has_text="drawn at random")
    sentence.wait_for()
    sample = page.evaluate("DATA.sheet.images.filter((i) => i.sample).map((i) => i.index)")
    for summary in study.contenders:
        predictions = study.stored.predictions(summary.label, 0)
        right = (predictions.test_probs.argmax(axis=1) == predictions.test_labels)[sample].mean()
        assert f"{summary.label} {100 * right:.0f}%" in sentence.inner_text()


def test_drawing_changes_what_the_models_see(look: Any) -> None:
    page = look.page
    page.locator("#try-clear").click()
    assert max(page.evaluate("Array.from(panel.base)")) == 0
    box = page.locator("#try-base").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 40, steps=4)
    page.mouse.up()
    assert max(page.evaluate("Array.from(panel.base)")) == 1
    assert "It is" not in page.locator("#try-answer").inner_text()


def test_files_are_taken_or_refused_in_words(look: Any, study: Verdicts) -> None:
    from PIL import Image

    page, folder = look.page, study.folder.parent
    Image.new("RGB", (300, 200), (255, 0, 0)).save(folder / "red.png")
    page.set_input_files("#try-file", folder / "red.png")
    page.locator("#try-base").wait_for()
    page.locator("#try-message", has_text="").wait_for(state="attached")
    red = page.evaluate(
        "takeFile(document.getElementById('try-file').files[0]).then(() => Array.from(panel.base))"
    )
    np.testing.assert_allclose(red, 0.299, atol=0.005)  # the luma of red
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    page.set_input_files("#try-file", folder / "broken.png")
    expected = "broken.png is not an image that this browser can read; try a PNG or JPEG file."
    page.get_by_text(expected).wait_for()
    (folder / "big.png").write_bytes(bytes(21_000_000))
    page.set_input_files("#try-file", folder / "big.png")
    page.get_by_text("big.png has 21 MB; choose an image under 20 MB.").wait_for()
    assert look.complaints == []


def test_it_answers_where_the_first_seeds_differ(open_page: Any, copied: Path, write_again: Any) -> None:
    shutil.rmtree(copied / "runs" / "mlp" / "seed-0")
    write_again(copied)
    opened = open_page(copied / "report.html")
    page = opened.page
    page.locator("#try-answer", has_text="; ").wait_for()
    assert page.locator("#try-seed option").all_inner_texts() == ["1"]
    assert page.evaluate("LIVE.map((model) => seedOf(model, '0'))") == [1, 1], "a seed that it lacks"
    assert opened.complaints == []
