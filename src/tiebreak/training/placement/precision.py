"""Number format and memory layout of a run, decided once from what hardware and model allow.

A prepared model computes the same function as the model it was made from and holds the same parameters
under the same names; the training loop does not know the difference.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

import copy
import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.data.batches import Batches
from tiebreak.errors import ModelError
from tiebreak.kernels import has_convolution, keeps_from_bf16, kernel_variant
from tiebreak.rng import global_stream, stream
from tiebreak.training.placement.fused import (
    by_winograd,
    can_go_by_winograd,
    keep_bf16_gradients,
    pool_before_relu,
    round_linear_weights,
)
from tiebreak.training.placement.placement import Placement, Precision, PrecisionChoice

BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16")  # that make bfloat16 faster than float32 on a CPU
SAME_LOGITS = 1e-4  # how far apart float32 sums in another order may be, relative
TRUE_FP32_ERROR = 1e-5  # of a product, relative; float32 is at about 1e-6, bfloat16 at 2e-3

# Memory freed by one step is kept for the next (Linux, glibc); see mallopt(3).
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
MALLOC_SETTINGS = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 << 20}


def choose_precision(choice: PrecisionChoice, device: torch.device) -> Precision:
    """The choice itself; for "auto" bf16 where the device computes it faster than fp32."""
    if choice != "auto":
        return choice
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU has bfloat16 products (AVX512-BF16 or AMX), and PyTorch the library that uses them."""
    if not torch.backends.mkldnn.is_available() or keeps_from_bf16():
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # newer than the oldest PyTorch that tiebreak takes
    if ask is not None:
        return any(ask().get(name, False) for name in BF16_CAPABILITIES)
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and any(name in cpu_flags(cpuinfo.read_text()) for name in BF16_CAPABILITIES)


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The flags that all processors of a /proc/cpuinfo have; empty if it lists none."""
    lists = [line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")]
    return frozenset(lists[0]).intersection(*lists) if lists else frozenset()


def choose_placement(
    model: nn.Module, image_shape: tuple[int, int, int], device: torch.device, precision: Precision
) -> Placement:
    """What pays for this model on this device. The model is moved there and is otherwise left alone.

    What could change the function of a model with its own ideas (one that views its activations, or looks
    at the layers of its own Sequential) is tried on two random images first, and left out if it does.

    Raises: ModelError if the model cannot compute in this precision.
    """
    placement = Placement(
        device=str(device),
        precision=precision,
        onednn_matmul=precision == "fp32" and device.type == "cpu" and onednn_is_true_fp32(),
        kernels=kernel_variant() if device.type == "cpu" else None,
    )
    images = torch.randn((2, *image_shape), generator=stream(0, "trial"))
    expected = _trial(model, images, placement)
    if expected is None:
        raise ModelError(f"This model cannot compute in {precision} on {device}; try --precision fp32.")
    if _has(model, nn.Conv2d) and device.type != "mps":
        logits = _trial(model, images, replace(placement, channels_last=True))
        if logits is not None:  # sums in another order: not the same bits
            placement, expected = replace(placement, channels_last=True), logits
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if (
        placement.channels_last
        and device.type == "cpu"
        and can_go_by_winograd(model)
        and has_convolution(dtype)
    ):
        # In float32, where what rounding does to a function and what another function does are far apart.
        plain, fused = (
            _trial(model, images, replace(placement, precision="fp32", winograd=winograd))
            for winograd in (False, True)
        )
        if plain is not None and fused is not None and (fused - plain).norm() <= SAME_LOGITS * plain.norm():
            logits = _trial(model, images, replace(placement, winograd=True))
            if logits is not None:
                placement, expected = replace(placement, winograd=True), logits
    changes: list[dict[str, Any]] = [{"pool_first": True}] if _has(model, nn.MaxPool2d) else []
    if precision == "bf16":
        on_cpu = device.type == "cpu" and _has(model, nn.Linear)
        changes += [{"bf16_weights": True}] if on_cpu else []
        changes += [{"bf16_images": True}]
    for change in changes:
        changed = replace(placement, **change)
        logits = _trial(model, images, changed)
        same = logits is not None and torch.equal(logits, expected)
        if same and changed.bf16_weights and not placement.bf16_weights:
            same = _have_same_gradients(model, images, placement, changed)
        if same:
            placement = changed
    _lay_out(model, device, channels_last=False)
    return placement


def prepare_model(model: nn.Module, placement: Placement) -> nn.Module:
    """The model as the placement wants it: the same function, the same names in its state_dict.

    It shares its parameters with the model, unless layers are replaced: then it is a copy.
    """
    changes = [
        *([by_winograd] if placement.winograd else []),
        *([pool_before_relu] if placement.pool_first else []),
        *([round_linear_weights] if placement.bf16_weights else []),
    ]
    prepared = copy.deepcopy(model) if changes else model
    for change in changes:
        change(prepared)
    _lay_out(prepared, torch.device(placement.device), placement.channels_last)
    return Bf16(prepared) if placement.precision == "bf16" else prepared


def prepare_batches(batches: Batches, placement: Placement) -> Batches:
    """The batches on the placement's device, in its number format and layout.

    On a GPU the bytes of the whole part move there once, and images are augmented there.
    """
    device = torch.device(placement.device)
    return replace(
        batches,
        images=batches.images.to(device),
        labels=batches.labels.to(device),
        dtype=torch.bfloat16 if placement.bf16_images else torch.float32,
        channels_last=placement.channels_last,
        device=placement.device,
    )


class Bf16(nn.Module):
    """A model under bfloat16 autocast; its logits come back in float32, for loss and metrics."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        with torch.autocast(images.device.type, torch.bfloat16):
            logits = self.model(images)
        return logits.float()

    # Layers, parameters and weights have the names that the model's author gave them.
    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        return self.model.named_modules(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.load_state_dict(*args, **kwargs)


def unprepared(model: nn.Module) -> nn.Module:
    """The model under whatever `prepare_model` put around it: its parameters have their author's names."""
    return model.model if isinstance(model, Bf16) else model


def _lay_out(model: nn.Module, device: torch.device, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device, memory_format=layout)  # type: ignore[call-overload]  # missing in PyTorch's types


def _has(model: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(layer, kind) for layer in model.modules())


@torch.no_grad()
def _trial(
    model: nn.Module, images: Float[Tensor, "B C H W"], placement: Placement
) -> Float[Tensor, "B K"] | None:
    """The logits of a few images, or None where the model cannot compute them so."""
    was_training = model.training
    dtype = torch.bfloat16 if placement.bf16_images else torch.float32
    layout = torch.channels_last if placement.channels_last else torch.contiguous_format
    try:
        model.eval()
        prepared = prepare_model(model, placement)
        with global_stream(0, "trial"):
            return prepared(images.to(placement.device, dtype, memory_format=layout))
    except (RuntimeError, AttributeError):  # AttributeError: a model that asks its own layers what they are
        return None
    finally:
        model.train(was_training)


def _have_same_gradients(
    model: nn.Module, images: Float[Tensor, "B C H W"], plain: Placement, changed: Placement
) -> bool:
    """Whether a model has the same gradients in both placements, bit for bit, whoever the optimiser is.

    A layer that is used twice has not: its gradients are added up, in bfloat16 or in float32.
    """
    found = []
    for placement, narrow in ((plain, False), (changed, False), (changed, True)):
        prepared = prepare_model(copy.deepcopy(model).eval(), placement)
        if narrow:
            keep_bf16_gradients(prepared)
        try:
            with global_stream(0, "trial"), torch.enable_grad():
                prepared(images.to(placement.device)).square().sum().backward()
        except RuntimeError:
            return False
        found.append(
            [torch.zeros(()) if each.grad is None else each.grad.float() for each in prepared.parameters()]
        )
    return all(torch.equal(first, each) for first, *others in zip(*found, strict=True) for each in others)


@lru_cache(maxsize=1)
def onednn_is_true_fp32() -> bool:
    """Whether oneDNN's float32 products, asked for by their public switch, are float32 on this CPU.

    The switch allows less ("bf16"); what a CPU without bfloat16 matrix units does with it is plain float32,
    often faster than the default. So it is tried against float64.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    generator = stream(0, "trial")
    a, b = (torch.randn(shape, generator=generator) for shape in ((128, 1024), (1024, 256)))
    exact = a.double() @ b.double()
    with _onednn_matmul(True):
        error = (a @ b).double() - exact
    return bool(error.norm() <= TRUE_FP32_ERROR * exact.norm())


@contextmanager
def computing(placement: Placement) -> Iterator[None]:
    """PyTorch's global switches as the placement wants them, inside the block; put back after it."""
    keep_freed_memory()
    with _onednn_matmul(placement.onednn_matmul), _cudnn_as_promised():
        yield


@contextmanager
def _cudnn_as_promised() -> Iterator[None]:
    """Keep cuDNN from rounding the factors of float32 products to 10 bits (TF32), as is its default, and to
    algorithms that add up in the same order each time.
    """
    cudnn: Any = torch.backends.cudnn  # its switches are made at import
    switches = (cudnn.conv, cudnn.rnn)
    before, deterministic = [switch.fp32_precision for switch in switches], cudnn.deterministic
    for switch in switches:
        switch.fp32_precision = "ieee"
    cudnn.deterministic = True
    try:
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
        cudnn.deterministic = deterministic


@contextmanager
def _onednn_matmul(wanted: bool) -> Iterator[None]:
    switch = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at import
    before = switch.fp32_precision
    if wanted:
        switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        switch.fp32_precision = before


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let glibc keep what a training step frees, for the next one; False where that cannot be asked for.

    Otherwise each activation of some megabytes goes back to the system and is asked for again at every step,
    page by page.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    taken = [mallopt(name, value) == 1 for name, value in MALLOC_SETTINGS.items()]
    return all(taken)
