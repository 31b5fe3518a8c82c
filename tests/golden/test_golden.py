"""The digits stand still: losses, predictions, weights and a study's JSON are what they were.

To the last digit where a golden file was made on a processor that computes alike (golden_values.py says what
that takes), and to a tolerance everywhere.
"""

import pytest
from golden_files import CAPABILITY, VARIANTS, Golden, Variant, compute, far, moved, read, stored


def tell(what: str, changes: list[str]) -> None:
    """Fail if there are changes, with the first of them: where, from which number to which."""
    if changes:
        pytest.fail("\n".join([f"{len(changes)} values {what}:", *changes[:30]]), pytrace=False)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_digit_is_as_it_was(variant: Variant):
    if variant.avx2 and CAPABILITY != "AVX512":
        pytest.skip("needs a processor with AVX-512, as elsewhere this is the native variant, or none")
    now = compute(variant)
    if variant.kernels != "off" and now.key["kernels"] == "off":
        pytest.skip("needs compiled kernels: python setup.py build_ext --inplace")
    if now.path.is_file():
        tell(f"moved from {now.path.name} (CONTRIBUTING.md says when they may)", moved(read(now.path), now))
    for golden in stored():
        tell(f"are far from {golden.path.name}", far(golden, now))
    if not now.path.is_file():
        pytest.skip(
            f"held to a tolerance only: {now.path.name} is not there (`python tests/golden/make.py` makes it)"
        )


def test_what_moved_and_what_is_far_is_told():
    golden, now = (
        Golden(key={}, values={"fp32": {"mlp": {"losses": losses, "weights_digest": digest}}, **more})
        for losses, digest, more in (
            ([2.0, 1.5, 1.0], "ab", {"bf16": {"mlp": {"losses": [2.0]}}}),
            ([2.0, 1.5001, float("nan")], "cd", {}),
        )
    )
    assert moved(golden, golden) == far(golden, golden) == []
    assert moved(golden, now) == [
        "fp32 / mlp / losses / 1: 1.5 became 1.5001",
        "fp32 / mlp / losses / 2: 1.0 became nan",
        "fp32 / mlp / weights_digest: ab became cd",
        "bf16 / mlp / losses / 0: 2.0 became nothing",
    ]
    assert far(golden, now) == ["fp32 / mlp / losses / 2: nan is not within 0.001 of 1.0"]
