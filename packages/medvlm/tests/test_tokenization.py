"""A tokenizer that loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvlm import VisionLanguageError, build_tokenizer, wrap_tokenizer

TEXTS = ["No pleural effusion. No pneumothorax.", "Small left pleural effusion.", "Heart size is normal."]
TOKENIZER = build_tokenizer(TEXTS, vocab_size=330)


@given(st.text(max_size=60))
def test_every_text_comes_back_from_its_tokens(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@pytest.mark.parametrize("marker", ["<image>", "</s>", "<s>", "<pad>"])
def test_a_marker_in_a_text_is_not_the_special_token(marker):
    ids = TOKENIZER(f"a {marker} b")["input_ids"]
    assert not set(ids) & {0, 1, 2, 3}
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == f"a {marker} b"


def test_special_tokens_have_their_ids():
    assert [TOKENIZER.convert_tokens_to_ids(t) for t in ("<pad>", "<s>", "</s>", "<image>")] == [0, 1, 2, 3]
    assert (TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id) == (0, 1, 2)
    assert TOKENIZER.padding_side == "left"


def test_merges_shorten_what_was_seen():
    assert len(TOKENIZER("pleural effusion")["input_ids"]) < len("pleural effusion") / 2


def test_the_same_texts_give_the_same_tokenizer():
    assert build_tokenizer(TEXTS, vocab_size=330).backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_it_survives_its_own_json():
    from tokenizers import Tokenizer

    again = wrap_tokenizer(Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str()))
    assert again("left effusion <image>")["input_ids"] == TOKENIZER("left effusion <image>")["input_ids"]


def test_a_vocabulary_too_small_for_the_bytes_is_refused():
    with pytest.raises(VisionLanguageError, match="at least 260"):
        build_tokenizer(TEXTS, vocab_size=259)
