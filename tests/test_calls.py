"""The little language of names with literal arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.calls import MAX_LENGTH, Call, parse_call, split_top_level
from tiebreak.errors import ModelError, TiebreakError

literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)
names = st.from_regex(r"[a-z][a-z0-9_.:/-]{0,12}", fullmatch=True)
keywords = st.from_regex(r"k[a-z0-9_]{0,6}", fullmatch=True)


@given(names, st.lists(literals, max_size=2), st.dictionaries(keywords, literals, max_size=3))
def test_what_is_written_is_read_again(name, args, kwargs):
    call = Call(name, tuple(args), kwargs)
    if len(str(call)) <= MAX_LENGTH:
        assert parse_call(str(call), ModelError) == call


@given(st.text(max_size=40) | st.from_regex(r"cnn\(.{0,30}\)", fullmatch=True))
def test_nothing_but_the_projects_error_comes_out(text):
    try:
        parse_call(text, ModelError)
    except TiebreakError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", ["f(" + "(" * 900, "f(" + "-" * 900 + "1)", "f(" + "[" * 450 + "]" * 450 + ")"]
)
def test_deep_nesting_is_refused(text):
    with pytest.raises(ModelError):
        parse_call(text, ModelError)


def test_very_long_text_is_refused():
    with pytest.raises(ModelError, match="at most 1000 characters, got 5000"):
        parse_call("x" * 5000, ModelError)


def test_separators_inside_brackets_and_quotes_do_not_split():
    assert split_top_level("cnn(a='@')@blur(1)@x", "@") == ["cnn(a='@')", "blur(1)", "x"]
