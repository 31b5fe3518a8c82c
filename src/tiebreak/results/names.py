"""Which contender and which seed a file is of: by its name, or by a pattern that the user gives."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiebreak.errors import EvidenceError

CUT = "\0"  # where something was taken out of a name
SEAM = re.compile(rf"[-_:=. ]*(?:{CUT}[-_:=. ]*)+")
FIELDS = ("model", "seed", "fold", "dataset")
SEED = (
    re.compile(r"(?<![a-z0-9])seed[-_:=. ]*(\d+)(?![a-z0-9])", re.IGNORECASE),
    re.compile(r"(?<![a-z0-9])(?:run|rep|replicate|trial|s|r)[-_:=. ]?(\d+)(?![a-z0-9])", re.IGNORECASE),
)
FOLD = re.compile(r"(?<![a-z0-9])fold[-_:=. ]*(\d+)(?![a-z0-9])", re.IGNORECASE)
ASIDE = re.compile(  # what names say beside the model: part of the data, epoch, kind and time of the file
    r"(?<![a-z0-9])(?:split:\w+?(?=_|$)|epoch:\w+?(?=_|$)|samples_\w+?_\d{4}-\d\d-\d\dt[\d.\-]+|"
    r"(?:test_)?(?:preds?|predictions?|probs?|logits?|outputs?|results?))(?![a-z0-9])",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class FileName:
    """What a file's name says; None where it says nothing."""

    model: str
    seed: int | None = None
    fold: int | None = None
    dataset: str | None = None


def read_names(paths: Sequence[Path], pattern: str | None = None) -> list[FileName]:
    """What the names of files say, by a pattern such as "{model}_seed{seed}.csv" or by common habits.

    Raises: EvidenceError if the pattern cannot be read or fits a file not.
    """
    if pattern is not None:
        return [_by_pattern(path, pattern) for path in paths]
    root = os.path.commonpath([path.absolute().parent for path in paths])
    texts = [path.absolute().relative_to(root).with_suffix("").as_posix() for path in paths]
    found = [_by_habit(text) for text in texts]
    parts = [re.split(r"/+", name.model) for name in found]
    depth = max(map(len, parts))
    told = [
        index
        for index in range(depth)
        if len({part[index] if index < len(part) else "" for part in parts}) > 1
    ]
    names = []
    for path, name, part in zip(paths, found, parts, strict=True):
        kept = [part[index] for index in told if index < len(part) and part[index]]
        model = "/".join(kept) or next((p for p in reversed(part) if p), path.absolute().parent.name)
        names.append(FileName(model=model, seed=name.seed, fold=name.fold))
    return names


def _by_habit(text: str) -> FileName:
    seed = fold = None
    for habit in SEED:
        match = habit.search(text)
        if match:
            seed, text = int(match[1]), text[: match.start()] + CUT + text[match.end() :]
            break
    match = FOLD.search(text)
    if match:
        fold, text = int(match[1]), text[: match.start()] + CUT + text[match.end() :]
    pieces = (SEAM.sub("_", ASIDE.sub(CUT, piece)).strip("-_:=. ") for piece in text.split("/"))
    return FileName(model="/".join(pieces), seed=seed, fold=fold)


def _by_pattern(path: Path, pattern: str) -> FileName:
    parts = re.split(r"(\{\w+\}|\*)", pattern)
    fields = [part[1:-1] for part in parts if part.startswith("{")]
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or "model" not in fields or len(set(fields)) < len(fields):
        raise EvidenceError(
            f'--pattern "{pattern}" must name {{model}}, perhaps {{seed}}, {{fold}}, {{dataset}}, each once.'
        )
    regex = "".join(
        r"[^/]*"
        if part == "*"
        else f"(?P<{part[1:-1]}>{r'[0-9]+' if part[1:-1] in ('seed', 'fold') else r'[^/]+?'})"
        if part.startswith("{")
        else re.escape(part)
        for part in parts
    )
    match = re.search(rf"(?:^|/){regex}$", path.as_posix())
    if match is None:
        raise EvidenceError(f'{path} does not fit --pattern "{pattern}".')
    found = match.groupdict()
    return FileName(
        model=found["model"],
        seed=int(found["seed"]) if found.get("seed") else None,
        fold=int(found["fold"]) if found.get("fold") else None,
        dataset=found.get("dataset"),
    )
