"""What setup.py says about building the kernels, for tests that compile them."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]

_spec = importlib.util.spec_from_file_location("setup", ROOT / "setup.py")
assert _spec is not None and _spec.loader is not None
_setup = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_setup)

FLAGS, VARIANTS = _setup.FLAGS, _setup.VARIANTS
flags, made_of, variants = _setup.flags, _setup.made_of, _setup.variants
