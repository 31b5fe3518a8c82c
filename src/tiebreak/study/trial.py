"""A trial before anything is trained: what a user's model will fail on fails here, in one line.

A step on the smallest batch that will come, an evaluation, and weights that are saved and loaded; on a few
images and the CPU, so that it takes a moment. What is no error but must be known becomes a note.
"""

import pickle
from collections.abc import Iterator

import safetensors.torch
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tiebreak.data.batches import Batches
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.errors import ModelError
from tiebreak.models.catalog import check_logits, is_builtin
from tiebreak.models.users_code import users_code
from tiebreak.models.weights import load_weights
from tiebreak.rng import global_stream
from tiebreak.training.placement.placement import PrecisionChoice
from tiebreak.training.placement.precision import choose_placement, choose_precision
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.run import EVAL_BATCH_SIZE, weights_of
from tiebreak.training.spec import RunSpec, initial_model, run_images, small_shape

FEW = 8  # images of a trial's batches
SAME_LOGITS = 1e-3  # how far apart those of one image may be, relative


def try_run(
    spec: RunSpec, data: ImageDataset, device: torch.device, precision: PrecisionChoice
) -> tuple[str, ...]:
    """Try what a run will do, on the CPU; gives what must be known of its model, in sentences.

    Raises: ModelError if the model cannot be built, trained, evaluated, saved or loaded.
    """
    text = spec.model
    model = initial_model(spec, data)
    if spec.recipe.small_size:
        _try_small_images(spec, model, data)
    if is_builtin(text):
        return ()
    with users_code(f"the weights of {text} cannot be saved"):
        first = weights_of(model)
    if device.type == "cpu" and choose_precision(precision, device) == "bf16":
        with users_code(f"{text} cannot be prepared"):
            choose_placement(model, data.image_shape, device, "bf16")
    # Transforms change what is in an image and not its shape.
    images = run_images(spec.model_copy(update={"transforms": ()}), data)
    with global_stream(spec.seed, "dropout"):
        _try_steps(spec, model, images.train, data.num_classes)
        notes = _try_evaluation(text, model, (images.val, images.test), data.num_classes)
    again = initial_model(spec, data)
    if any(not _are_same(first[name], tensor) for name, tensor in weights_of(again).items()):
        notes.append(
            "two models made with one seed differ, so its runs cannot be repeated: it draws from a generator "
            "that tiebreak does not seed, such as numpy.random.default_rng() without a seed."
        )
    with users_code(f"the weights of {text} cannot be saved and loaded"):
        stored = safetensors.torch.load(safetensors.torch.save(weights_of(model)))
        travelled = pickle.loads(pickle.dumps(stored))  # noqa: S301 - between processes  # nosec B301
        load_weights(again, travelled)
    return tuple(notes)


def _try_small_images(spec: RunSpec, model: nn.Module, data: ImageDataset) -> None:
    """Raises: DataError if they are not smaller; ModelError if the model takes one size alone."""
    channels, height, width = data.image_shape
    small = small_shape(spec.recipe, data.image_shape)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, channels, *small))
    except RuntimeError:
        raise ModelError(
            f"{spec.model} takes images of {height}x{width} pixels alone, not of {small[0]}x{small[1]}; "
            "small_size is for models that take any size, such as airnet and resnet."
        ) from None


def _try_steps(spec: RunSpec, model: nn.Module, batches: Batches, num_classes: int) -> None:
    """A training step on a few images, and on the last images of an epoch where these are still fewer."""
    total, size = batches.num_images, spec.recipe.batch_size
    images, labels = (part[:FEW] for part in next(iter(batches)))
    last = total % size or min(size, total)
    if len(images) > 1:
        _step(spec, model, images, labels, num_classes)
    if last >= len(images) > 1:
        return
    try:
        _step(spec, model, images[:last], labels[:last], num_classes)
    except ModelError as error:
        better = _batch_size_near(size, total, last)
        remedy = f" (--batch-size {better} avoids that)" if better else ""
        raise ModelError(
            f"of {total} training images the last batch of an epoch has {last}, which fails{remedy}: {error}"
        ) from error


def _batch_size_near(size: int, total: int, last: int) -> int | None:
    """The batch size nearest to `size` whose last batch has more than `last` images."""
    sizes = range(2, max(size, total) + 1)
    return next((n for n in sorted(sizes, key=lambda n: abs(n - size)) if (total % n or n) > last), None)


def _step(
    spec: RunSpec,
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int64[Tensor, " B"],
    num_classes: int,
) -> None:
    text, parameters = spec.model, [each for each in model.parameters() if each.requires_grad]
    with users_code(f"{text} fails on a training batch of shape (B, C, H, W) = {tuple(images.shape)}"):
        model.train().zero_grad()
        logits = model(images)
        check_logits(text, logits, len(images), num_classes)
        loss = make_criterion(spec.recipe)(logits, labels)
        loss.backward()
        if all(each.grad is None or _is_usual(each.grad) for each in parameters):
            with torch.no_grad():
                for each in parameters:
                    each.sub_(spec.recipe.lr * (torch.zeros(()) if each.grad is None else each.grad))
        else:  # an optimiser takes seconds to import: it is asked only about what it may not know
            make_optimizer(spec.recipe, model).step()
    if not loss.isfinite():
        raise ModelError(f"{text}: the loss of its first step is {loss.item()}.")


def _is_usual(gradient: Tensor) -> bool:
    return gradient.layout == torch.strided and gradient.is_floating_point()


@torch.no_grad()
def _try_evaluation(text: str, model: nn.Module, parts: tuple[Part, ...], num_classes: int) -> list[str]:
    """Look at a few test images, again, and fewer at a time; gives what is to be said of the answers."""
    images, _ = next(iter(parts[-1].batches(FEW)))
    model.eval()

    def look(some: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        with users_code(f"{text} fails on an evaluation batch of shape (B, C, H, W) = {tuple(some.shape)}"):
            logits: Tensor = model(some)
            check_logits(text, logits, len(some), num_classes)
            return logits

    logits, half = look(images), len(images) // 2
    notes = list(_note_of_probabilities(logits))
    if any(len(part) % EVAL_BATCH_SIZE == 1 for part in parts):
        look(images[:1])
    if not _are_close(logits, look(images)):
        notes.append(
            "it answers otherwise when it is asked again, so its accuracy is one of many: something random "
            "(dropout?) is active in evaluation."
        )
    elif half and not _are_close(logits[:half], look(images[:half])):
        notes.append(
            "its answer to an image depends on the other images of the batch, so its accuracy depends on how "
            "test images are grouped (batch norm without running statistics? softmax over dim 0?)."
        )
    return notes


def _note_of_probabilities(logits: Float[Tensor, "B K"]) -> Iterator[str]:
    if bool((logits >= 0).all()) and bool(((logits.sum(dim=1) - 1).abs() < 1e-3).all()):
        yield (
            "its outputs look like probabilities (each row sums to 1); return logits, because the loss "
            "applies softmax itself and learns badly from what went through one already."
        )


def _are_close(one: Tensor, other: Tensor) -> bool:
    """As close as sums in another order are."""
    return bool((one - other).abs().max() <= SAME_LOGITS * one.abs().max())


def _are_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bytes; some number formats know no other comparison."""
    first, second = (tensor.reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(first, second)
