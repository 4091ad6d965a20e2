"""A tokenizer from texts alone, without a download."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from medvlm.errors import VisionLanguageError

PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
SPECIAL = (PAD, BOS, EOS, IMAGE)
"""In the order of their ids: 0 to 3."""


def build_tokenizer(texts: Iterable[str], *, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE tokenizer.

    Every text in any script comes back exactly from its tokens; the vocabulary holds all 256 bytes. Markers such as `<image>` inside a text are read as
    plain text: only the model's own prompt places special tokens.

    Args:
        texts: to learn merges from; the same texts give the same tokenizer.
        vocab_size: at most so many tokens, the four special ones included.

    Returns:
        A tokenizer with `<pad>` 0, `<s>` 1, `</s>` 2, `<image>` 3 that pads on the left, as generation needs.

    Raises:
        VisionLanguageError: for a vocabulary too small for the bytes.

    Source: Sennrich et al., ACL 2016 (BPE); bytes: Radford et al., 2019.
    """
    least = len(SPECIAL) + 256
    if vocab_size < least:
        raise VisionLanguageError(f"vocab_size must be at least {least} (256 bytes and {len(SPECIAL)} special tokens), got {vocab_size}")
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return wrap_tokenizer(model)


def wrap_tokenizer(model: Tokenizer) -> PreTrainedTokenizerFast:
    """Give a tokenizer of `build_tokenizer`'s kind its special tokens and manners."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=model,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens=[IMAGE],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )
