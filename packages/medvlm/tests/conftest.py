"""The smallest models that still show every behaviour."""

from collections.abc import Callable

import pytest
import torch

from medmodels import Intensity, Preprocessing
from medvlm import EncoderConfig, ReportConfig, ReportTask, VisionLanguageConfig, VisionLanguageModel, build_tokenizer

REPORTS = ["No acute findings.", "Large right effusion.", "Cardiomegaly, mild edema.", "Nodule, left lobe."]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_model() -> Callable[..., VisionLanguageModel]:
    def make(arch: str = "vit_tiny", dims: int = 2, family: str = "llama", **arch_kwargs: object) -> VisionLanguageModel:
        torch.manual_seed(0)
        if family == "llama":
            decoder = {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
            }
        else:
            decoder = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1, "eos_token_id": 2}
        arch_kwargs = arch_kwargs or ({"patch_size": 8, "depth": 1} if arch.startswith("vit") else {})
        text = {"model_type": family, "vocab_size": 300, "tie_word_embeddings": True, **decoder}
        return VisionLanguageModel(VisionLanguageConfig(EncoderConfig(arch, dims, 1, arch_kwargs), text)).eval()

    return make


@pytest.fixture
def make_task(make_model) -> Callable[..., ReportTask]:
    def make(**options: object) -> ReportTask:
        preprocessing = Preprocessing(spatial_dims=2, patch_size=(16, 16), intensity=Intensity(kind="percentile"), whole_image=True)
        return ReportTask(
            make_model(), build_tokenizer(REPORTS, vocab_size=300), preprocessing=preprocessing, config=ReportConfig(**options)
        )

    return make


@pytest.fixture
def batch() -> dict[str, object]:
    image = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return {"image": image, "report": list(REPORTS), "key": [(0, 0, f"case-{i}", 0) for i in range(4)]}
