import pytest
import torch
from torch import nn

from medmodels import LinearHead, UNetDecoder, create_model


class Segmenter(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decoder = UNetDecoder(backbone, 3)

    def forward(self, x):
        return self.decoder(self.backbone(x), x.shape[2:])


class Classifier(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = LinearHead(backbone.channels[-1], 3)

    def forward(self, x):
        return self.head(self.backbone(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "name", "size"),
    [
        (Segmenter, "resunet_tiny", (18, 24, 21)),
        (Segmenter, "vit_tiny", (17, 24)),
        pytest.param(Classifier, "vit_tiny", (10, 16, 24), marks=pytest.mark.slow),
        pytest.param(Classifier, "resunet_tiny", (33, 40), marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_what_torch_gives_for_any_batch(tmp_path, task, name, size):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module = task(create_model(name, spatial_dims=len(size), **({"patch_size": 8, "depth": 2} if name == "vit_tiny" else {}))).eval()
    path = tmp_path / "model.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(
        module,
        (torch.randn(2, 1, *size),),
        path,
        dynamo=True,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        x = torch.randn(n, 1, *size, generator=torch.Generator().manual_seed(n))
        with torch.no_grad():
            expected = module(x)
        (got,) = session.run(None, {"image": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-4, rtol=1e-4)
