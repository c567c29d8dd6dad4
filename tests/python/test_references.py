"""References to keys: what is written is what is read, and nothing else is a reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce import EvanesceError
from evanesce.custody import Reference, is_reference

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=40)


@given(module=NAMES, label=NAMES, version=st.none() | st.integers(1, 999_999_999))
def test_a_key_in_a_module_is_read_as_it_was_written(module: str, label: str, version: int | None) -> None:
    reference = Reference("hsm", module, label, version)
    assert Reference.parse(str(reference)) == reference
    assert is_reference(str(reference))
    assert str(reference).isascii()


@pytest.mark.parametrize(
    ("text", "place", "version"),
    [
        ("regen:payments", "payments", None),
        ("regen:payments@3", "payments", 3),
        ("regen:/srv/keys/payments.regen", "/srv/keys/payments.regen", None),
        ("regen:a@b", "a@b", None),
        ("regen:payments@0", "payments@0", None),
    ],
)
def test_a_token_is_a_name_or_a_path_and_perhaps_a_version(text: str, place: str, version: int | None) -> None:
    assert Reference.parse(text) == Reference("regen", place, "", version)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_by_one_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except EvanesceError as e:
        assert e.code == "bad-input"
    else:
        assert text.startswith(f"{reference.model}:")
