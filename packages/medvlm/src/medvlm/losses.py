"""Cross-entropy of the tokens that are to be learned."""

from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORE = -100
"""Label of a token that is read but not learned: prompt, image, padding."""


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of each sample's labelled tokens, each given all before it.

    The mean of the result weighs samples alike, whatever their length, so that it does not depend on how samples are split into batches, parts or ranks.

    Args:
        logits: (B, L, V); position i predicts token i + 1.
        labels: (B, L) token ids, `IGNORE` where nothing is to be learned.

    Returns:
        (B,) float32 nats a token; 0 for a sample without labelled tokens.
    """
    targets = labels[:, 1:]
    losses = cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORE, reduction="none")
    return losses.sum(1) / (targets != IGNORE).sum(1).clamp_min(1)
