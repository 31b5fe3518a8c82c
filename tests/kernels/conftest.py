"""Kernels are tested in every variant that this processor can compute, each against PyTorch."""

from collections.abc import Iterator

import pytest

from kernel_variants import HOW_TO_BUILD
from tiebreak import kernels
from tiebreak.kernels.library import SWITCH, known_variants


@pytest.fixture(scope="module", params=known_variants() or ("of an unknown processor",))
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let a variant compute, though a better one may be there."""
    if request.param not in kernels.usable_variants():
        pytest.skip(f"{request.param}: not for this processor, or not built ({HOW_TO_BUILD})")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, request.param)
        yield request.param
