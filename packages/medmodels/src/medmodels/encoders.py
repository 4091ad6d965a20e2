"""A trained encoder from its folder."""

from pathlib import Path

from medmodels.artifacts import read_artifact
from medmodels.cards import EncoderCard
from medmodels.contracts import Backbone
from medmodels.loading import LoadReport, load_weights
from medmodels.preprocessing import Preprocessing
from medmodels.registry import create_model


def load_encoder(
    folder: Path | str, *, into: Backbone | None = None, expect: Preprocessing | None = None, min_matched: float = 0.9
) -> tuple[Backbone, LoadReport]:
    """Load a trained encoder, checked.

    Args:
        folder: an artifact of any kind, see `save_artifact`; of a task's, its backbone is taken.
        into: a network of the same architecture to fill; None builds the one that the card names.
        expect: the preprocessing that the encoder will serve: its axes, spacing and intensity must be those of training. None leaves it unchecked.
        min_matched: least share of the network's tensors that must match by name and shape, 0 to 1.

    Returns:
        The network, in training mode where it was built here, and what matched.

    Raises:
        EncoderMismatchError: where something differs; the message says what. `into` is then unchanged.
        ArtifactError: where the folder is no artifact.
        UnknownModelError: where the card names a model that is not registered.
    """
    backbone = into
    if backbone is None:
        card = EncoderCard.from_dict(read_artifact(folder)[1]["card"])
        backbone = create_model(card.arch, **card.kwargs)
    return backbone, load_weights(folder, backbone, expect=expect, min_matched=min_matched)
