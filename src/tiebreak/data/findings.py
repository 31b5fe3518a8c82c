"""What a reader of results must know of the images and labels, found by looking at them.

Shape letters: N training images, M test images, C channels, H height, W width.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from jaxtyping import Int64, UInt8
from torch import Tensor

from tiebreak.errors import list_some

MAJORITY, OVER_EVEN = 0.5, 1.2  # a class's share from which it is told, and as a multiple of an even share


def find_notes(
    name: str,
    class_names: tuple[str, ...],
    train: tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, " N"]],
    test: tuple[UInt8[Tensor, "M C H W"], Int64[Tensor, " M"]],
) -> tuple[str, ...]:
    """A sentence for each finding: classes without images, a majority, names alike, images in both parts."""
    counts = {
        part: labels.bincount(minlength=len(class_names))
        for part, (_, labels) in (("training", train), ("test", test))
    }
    notes = []
    for part, count in counts.items():
        absent = [class_name for class_name, images in zip(class_names, count, strict=True) if not images]
        if absent:
            notes.append(f"the {part} part has no images of {list_some(absent)}")
    share = float(counts["test"].max()) / len(test[1])
    if share > MAJORITY and share >= OVER_EVEN / len(class_names):
        most = class_names[int(counts["test"].argmax())]
        notes.append(
            f"{share:.0%} of the test images are of {most!r}: to answer only that scores {share:.0%}"
        )
    notes += [
        f"the classes {list_some(alike)} differ only in case, spaces or Unicode form, and count as different"
        for alike in names_alike(class_names)
    ]
    if repeated := count_repeated(train[0], test[0]):
        notes.append(
            f"{repeated:,} of {len(test[0]):,} test images are in the training part too, pixel for pixel"
        )
    return tuple(f"{name}: {note}" for note in notes)


def names_alike(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that are one once case, spaces and Unicode's forms are taken away."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [group for group in groups.values() if len(group) > 1]


def count_repeated(train: UInt8[Tensor, "N C H W"], test: UInt8[Tensor, "M C H W"]) -> int:
    """How many test images equal a training image."""
    of_train, of_test = (
        [hashlib.blake2b(image, digest_size=16).digest() for image in part.contiguous().numpy()]
        for part in (train, test)
    )
    known = set(of_train)
    return sum(digest in known for digest in of_test)
