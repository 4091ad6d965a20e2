"""Learn to write the report of an image."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from medmodels import Artifact, Batch, Preprocessing, Progress, StepOutput
from medvlm.errors import VisionLanguageError
from medvlm.losses import IGNORE, next_token_loss
from medvlm.modeling import VisionLanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Options of `ReportTask`.

    Attributes:
        prompt: what stands between the image and the report.
        max_report_tokens: longer reports are cut there in training, without an end token; the share is logged as `truncated`.
        encoder_lr_scale: learning rate of the encoder over that of the rest; 0 freezes it.
        train_decoder: False freezes the decoder, so that only the connector (and the encoder) learn.
    """

    prompt: str = "\nReport: "
    max_report_tokens: int = 512
    encoder_lr_scale: float = 1.0
    train_decoder: bool = True

    def __post_init__(self) -> None:
        if self.max_report_tokens < 1:
            raise ValueError(f"max_report_tokens must be at least 1, got {self.max_report_tokens}")
        if self.encoder_lr_scale < 0:
            raise ValueError(f"encoder_lr_scale must not be negative, got {self.encoder_lr_scale}")


class ReportTask(nn.Module):
    """Supervised tuning on pairs of image and report; a `TrainingTask`.

    A row reads `<s>`, the image's tokens, the prompt, the report, `</s>`; the loss counts the report's tokens and the end alone.

    Args:
        model: what learns.
        tokenizer: with the model's vocabulary, see `build_tokenizer`.
        preprocessing: what was done to the images; kept in the artifact.
        config: see `ReportConfig`.
        data_fingerprint: hash of the dataset, for the card.

    Raises:
        VisionLanguageError: where model and tokenizer disagree.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        preprocessing: Preprocessing,
        config: ReportConfig = ReportConfig(),
        data_fingerprint: str = "",
    ) -> None:
        super().__init__()
        vocabulary = int(model.config.text_config.vocab_size)
        if len(tokenizer) > vocabulary:
            raise VisionLanguageError(
                f"the tokenizer has {len(tokenizer)} tokens, the decoder {vocabulary}; build the decoder with vocab_size={len(tokenizer)}"
            )
        if tokenizer.convert_ids_to_tokens(model.config.image_token_id) not in tokenizer.all_special_tokens:
            raise VisionLanguageError(
                f"token {model.config.image_token_id} is no special token of this tokenizer; set image_token_id to its id of <image>"
            )
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if getattr(tokenizer, name) is None:
                raise VisionLanguageError(f"the tokenizer has no {name}; set one")
        self.model = model
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.config = config
        self.data_fingerprint = data_fingerprint
        if config.encoder_lr_scale == 0:
            cast(nn.Module, model.backbone).requires_grad_(False)
        if not config.train_decoder:
            model.decoder.requires_grad_(False)

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """Run one step.

        Args:
            batch: `image` (B, C, *S) and `report`, a list of B texts.
            progress: not used; there is no schedule here.

        Returns:
            The mean over samples of the mean loss a token, in nats; `preds["loss"]` (B,) holds each sample's.

        Raises:
            VisionLanguageError: for a missing or empty report, by sample id.
        """
        image: Tensor = batch["image"]
        prompt = self._prompt(image)
        targets = [self._target(report) for report in _reports(batch)]
        ids, mask = self._pad([prompt + target for target, _ in targets], image.device)
        labels, _ = self._pad([[IGNORE] * len(prompt) + target for target, _ in targets], image.device, fill=IGNORE)
        logits = self.model(input_ids=ids, pixel_values=image, attention_mask=mask, use_cache=False).logits
        per_sample = next_token_loss(logits, labels)
        truncated = sum(cut for _, cut in targets) / len(targets)
        return StepOutput(per_sample.mean(), logs={"truncated": truncated}, preds={"loss": per_sample.detach()})

    @torch.no_grad()
    def generate(self, batch: Batch, max_new_tokens: int = 128, **kwargs: Any) -> list[str]:
        """Write the reports of a batch, greedily.

        Args:
            batch: `image` (B, C, *S).
            max_new_tokens: where a report that does not end is cut.
            kwargs: of `transformers.GenerationMixin.generate`, e.g. `num_beams=4`.

        Returns:
            B texts.
        """
        image: Tensor = batch["image"]
        prompt = torch.tensor([self._prompt(image)] * len(image), device=image.device)
        options = {
            "do_sample": False,
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
            "bos_token_id": self.tokenizer.bos_token_id,
            **kwargs,
        }
        training = self.training
        self.eval()
        try:
            generate = cast(Callable[..., Tensor], self.model.generate)  # type: ignore[misc]  # its own type asks for a protocol that no class declares
            ids = generate(
                input_ids=prompt, pixel_values=image, attention_mask=torch.ones_like(prompt), max_new_tokens=max_new_tokens, **options
            )
        finally:
            self.train(training)
        return list(self.tokenizer.batch_decode(ids[:, prompt.shape[1] :], skip_special_tokens=True))

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for the optimiser: encoder and the rest, each with and without decay (vectors and embeddings have none)."""
        embeddings = {id(p) for p in self.model.get_input_embeddings().parameters()}
        encoder = {id(p) for p in cast(nn.Module, self.model.backbone).parameters()}
        groups: list[dict[str, Any]] = []
        for in_encoder, scale in ((True, self.config.encoder_lr_scale), (False, 1.0)):
            for decays in (True, False):
                chosen = [
                    p
                    for p in self.parameters()
                    if p.requires_grad and (id(p) in encoder) is in_encoder and (p.ndim > 1 and id(p) not in embeddings) is decays
                ]
                if chosen:
                    groups.append({"params": chosen, "lr": lr * scale, "weight_decay": weight_decay if decays else 0.0})
        return groups

    def after_step(self, progress: Progress) -> None:
        """Nothing follows an optimiser step here: there is no teacher."""

    def artifact(self) -> Artifact:
        """The model with all that `load_report_task` needs, of kind `vlm`; the tokenizer travels in `config`."""
        card = dataclasses.replace(
            self.model.backbone.card,
            axes=self.preprocessing.axes,
            spacing_mm=self.preprocessing.spacing_mm,
            intensity=asdict(self.preprocessing.intensity),
            objective="report",
            code_version=f"medvlm {version('medvlm')}",
            data_fingerprint=self.data_fingerprint,
        )
        config = {
            "model": json.loads(self.model.config.to_json_string(use_diff=False)),
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "report": asdict(self.config),
        }
        return Artifact(kind="vlm", module=self.model, card=card, preprocessing=self.preprocessing, config=config)

    def _prompt(self, image: Tensor) -> list[int]:
        """Token ids up to the report, the same for each row of image (B, C, *S)."""
        places = [int(self.model.config.image_token_id)] * self.model.num_image_tokens(image.shape[2:])
        return [cast(int, self.tokenizer.bos_token_id), *places, *self._encode(self.config.prompt)]

    def _target(self, report: str) -> tuple[list[int], bool]:
        """Token ids of a report with its end, and whether it had to be cut (then without the end)."""
        ids = self._encode(report)
        limit = self.config.max_report_tokens
        return (ids[:limit], True) if len(ids) > limit else ([*ids, cast(int, self.tokenizer.eos_token_id)], False)

    def _encode(self, text: str) -> list[int]:
        # split_special_tokens: a text that says "<image>" or "</s>" must not be able to place one
        return cast(list[int], self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def _pad(self, rows: Sequence[list[int]], device: torch.device, *, fill: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows to (B, L) ids and mask, padded on the right: only generation needs the left."""
        length = max(len(row) for row in rows)
        ids = torch.full((len(rows), length), cast(int, self.tokenizer.pad_token_id) if fill is None else fill)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids.to(device), mask.to(device)


def _reports(batch: Batch) -> list[str]:
    """The batch's reports; VisionLanguageError names the sample that lacks one."""
    reports = batch.get("report")
    if reports is None:
        raise VisionLanguageError("the batch has no `report`; build shards whose samples carry one")
    for index, report in enumerate(reports):
        if not isinstance(report, str) or not report.strip():
            keys = batch.get("key")
            name = keys[index][2] if keys is not None else f"row {index}"
            raise VisionLanguageError(f"{name}: its report is empty; leave the sample out")
    return list(reports)
