"""Claims as tests: `cnn - mlp >= 0.15`, `cnn ~ resnet within 1 point`, `cnn.params <= mlp.params`.

A claim is a sum of measured quantities against a number; this file reads it, claim_outcome.py judges it.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, VisitError

from tiebreak.errors import ClaimError

EXAMPLE = 'such as "cnn - mlp >= 0.15", "cnn ~ mlp within 1%" or "cnn.params <= mlp.params"'
DEFAULT_METRIC = "test_acc"
MAX_LENGTH = 1_000  # characters; no honest claim is longer

GRAMMAR = r"""
start: sum RELATION sum                      -> inequality
     | sum "~" sum _WITHIN amount            -> likeness
sum: first (SIGN part)*
?first: SIGN part                            -> signed
      | part
?part: amount                                -> constant
     | [NUMBER "*"] quantity                 -> multiple
quantity: (BARE | QUOTED) ["." METRIC]
amount: NUMBER [UNIT]

RELATION: ">=" | "<=" | ">" | "<"
SIGN: "+" | "-"
_WITHIN.3: /within\b/
UNIT.3: "%" | /points?\b/ | /pp\b/
NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
METRIC: /[A-Za-z_]\w*/
BARE.1: /[A-Za-z_]\w*(-\w+)*(\([^()"']*\))?(@\w+(-\w+)*(\([^()"']*\))?)*/
QUOTED: /"[^"]+"|'[^']+'/
%ignore /\s+/
"""


class Relation(StrEnum):
    """How the two sides are claimed to stand."""

    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    ALIKE = "~"


@dataclass(frozen=True, kw_only=True)
class Term:
    """A measured quantity and its factor."""

    factor: float
    contender: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`sum(terms) + constant` stands in `relation` to 0; where alike, it lies within +-margin."""

    text: str
    terms: tuple[Term, ...]
    constant: float
    relation: Relation
    margin: float | None = None


def parse_claim(text: str) -> Claim:
    """Read one claim. A name such as `cnn(width=34)@permute-pixels` may stand bare, any other takes quotes.

    Without a metric a name means its test accuracy. `15%`, `15 points` and `0.15` are the same number.

    Raises: ClaimError with the position of what could not be read.
    """
    if len(text) > MAX_LENGTH:
        raise ClaimError(f"a claim has at most {MAX_LENGTH:,} characters, got {len(text):,}.")
    try:
        claim = _Reader(text).transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise ClaimError(_unreadable(text, error)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, ClaimError):
            raise error.orig_exc from None
        raise
    if not claim.terms:
        raise ClaimError(f'"{shown(text)}" names no contender; write a claim {EXAMPLE}.')
    return claim


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual")


@v_args(inline=True)
class _Reader(Transformer[Token, Claim]):
    """From the tree to a Claim; both sides of a relation are brought to the left."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def inequality(self, left: "_Sum", relation: Token, right: "_Sum") -> Claim:
        return self._claim(left, right, Relation(str(relation)), None)

    def likeness(self, left: "_Sum", right: "_Sum", margin: float) -> Claim:
        if margin <= 0:
            raise ClaimError(f'"{shown(self.text)}": the margin after "within" must be above 0.')
        return self._claim(left, right, Relation.ALIKE, margin)

    def _claim(self, left: "_Sum", right: "_Sum", relation: Relation, margin: float | None) -> Claim:
        difference = left.plus(right.times(-1.0))
        if not math.isfinite(difference.constant):
            raise ClaimError(f'"{shown(self.text)}": the numbers in it add up to too large a number.')
        return Claim(
            text=self.text,
            terms=difference.terms,
            constant=difference.constant,
            relation=relation,
            margin=margin,
        )

    def sum(self, *parts: "Token | _Sum") -> "_Sum":
        total, sign = _Sum(), 1.0
        for part in parts:
            if isinstance(part, _Sum):
                total = total.plus(part.times(sign))
            else:
                sign = -1.0 if part == "-" else 1.0
        return total

    def signed(self, sign: Token, part: "_Sum") -> "_Sum":
        return part.times(-1.0 if sign == "-" else 1.0)

    def constant(self, amount: float) -> "_Sum":
        return _Sum(constant=amount)

    def multiple(self, factor: Token | None, term: Term) -> "_Sum":
        return _Sum(terms=(term,)).times(1.0 if factor is None else self._number(factor))

    def quantity(self, name: Token, metric: Token | None) -> Term:
        plain = name[1:-1] if name.type == "QUOTED" else str(name)
        return Term(factor=1.0, contender=plain, metric=DEFAULT_METRIC if metric is None else str(metric))

    def amount(self, number: Token, unit: Token | None) -> float:
        return self._number(number) / (1.0 if unit is None else 100.0)

    def _number(self, token: Token) -> float:
        value = float(token)
        if not math.isfinite(value):
            raise ClaimError(f'"{shown(self.text)}": {shown(str(token))} is too large a number.')
        return value


@dataclass(frozen=True)
class _Sum:
    terms: tuple[Term, ...] = ()
    constant: float = 0.0

    def plus(self, other: "_Sum") -> "_Sum":
        return _Sum(terms=self.terms + other.terms, constant=self.constant + other.constant)

    def times(self, factor: float) -> "_Sum":
        terms = tuple(
            Term(factor=factor * t.factor, contender=t.contender, metric=t.metric) for t in self.terms
        )
        return _Sum(terms=terms, constant=factor * self.constant)


def _unreadable(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedEOF) or getattr(getattr(error, "token", None), "type", "") == "$END":
        return f'the claim "{shown(text)}" ends too early; write a claim {EXAMPLE}.'
    column = (error.pos_in_stream or 0) + 1
    found = text[column - 1] if isinstance(error, UnexpectedCharacters) else str(getattr(error, "token", ""))
    return (
        f'cannot read the claim "{shown(text)}" at character {column} ({found!r}); write a claim {EXAMPLE}.'
    )


def shown(text: str) -> str:
    """One line, whatever was typed."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:77] + "..."
