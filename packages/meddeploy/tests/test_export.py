import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from meddeploy import Bundle, BundleError, ExportError, export
from meddeploy.bundle import write_bundle
from medmodels import Artifact, Preprocessing, create_model


def test_a_bundle_says_all_that_the_artifact_said(network, make):
    artifact, bundle = network
    again = Bundle.load(bundle.folder)
    assert again == bundle
    assert (again.kind, again.classes, again.preprocessing, again.card) == (
        artifact.kind,
        artifact.classes,
        artifact.preprocessing,
        artifact.card,
    )
    assert set(again.versions) == {"meddeploy", "medmodels", "torch", "onnx", "onnxscript"}
    assert sorted(p.name for p in bundle.folder.iterdir()) == ["bundle.json", "model.onnx"]


def test_the_batch_is_dynamic_and_the_window_fixed(network):
    artifact, bundle = network
    graph = onnx.load(bundle.folder / "model.onnx")
    (entry,) = graph.graph.input
    dims = entry.type.tensor_type.shape.dim
    assert dims[0].dim_param
    assert [d.dim_value for d in dims[1:]] == [1, 16, 16, 16]
    assert graph.opset_import[0].version == bundle.opset == 18
    session = onnxruntime.InferenceSession(bundle.read_graph(), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        x = torch.randn(batch, 1, 16, 16, 16, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = artifact.module.eval()(x)
        (got,) = session.run(["logits"], {"image": x.numpy()})
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_a_vision_transformer_and_a_film_network_export_too(make, tmp_path):
    artifact = make.network("vit_tiny", dims=2, depth=1, patch_size=8)
    session = onnxruntime.InferenceSession(export(artifact, tmp_path / "b").read_graph(), providers=["CPUExecutionProvider"])
    x = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = artifact.module.eval()(x)
    np.testing.assert_allclose(session.run(None, {"image": x.numpy()})[0], expected.numpy(), atol=1e-4)


def test_the_trained_module_is_left_as_it_was(make, tmp_path):
    artifact = make.threshold(dims=2)
    artifact.module.train()
    before = {name: value.clone() for name, value in artifact.module.state_dict().items()}
    export(artifact, tmp_path / "b")
    assert artifact.module.training
    assert all(torch.equal(before[name], value) for name, value in artifact.module.state_dict().items())
    assert next(artifact.module.parameters()).requires_grad


def test_the_graph_tells_nothing_about_the_machine_it_was_exported_on(network):
    graph = network[1].read_graph()
    for trace in (b"site-packages", b".py", b"File "):
        assert trace not in graph


def test_the_same_weights_export_to_the_same_graph(make, film_threshold, tmp_path):
    assert export(make.threshold(dims=2), tmp_path / "b").sha256 == film_threshold.sha256


def test_an_export_replaces_an_older_bundle(make, film_threshold, copied):
    folder = copied(film_threshold)
    artifact = make.threshold(dims=2)
    with torch.no_grad():
        artifact.module.convolution.bias.add_(1)
    new = export(dataclasses.replace(artifact, classes=("background", "dark")), folder)
    assert new.sha256 != film_threshold.sha256
    assert Bundle.load(folder).classes == ("background", "dark")


def test_an_export_that_is_cut_off_leaves_no_bundle(film_threshold, copied, monkeypatch):
    folder = copied(film_threshold)
    move = Path.replace

    def killed(self, target):
        if Path(target).name == "bundle.json":
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(dataclasses.replace(film_threshold, folder=folder), film_threshold.read_graph())
    assert [p.name for p in folder.iterdir()] == ["model.onnx"]
    with pytest.raises(BundleError, match=r"has no bundle\.json.*export again"):
        Bundle.load(folder)


def test_an_encoder_has_nothing_to_deploy(tmp_path):
    encoder = create_model("resunet_tiny", spatial_dims=2)
    artifact = Artifact(kind="encoder", module=encoder, card=encoder.card, preprocessing=Preprocessing(spatial_dims=2, patch_size=(16, 16)))
    with pytest.raises(ExportError, match=r"kind 'encoder'.*segmentation or classification"):
        export(artifact, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_network_whose_answers_do_not_fit_its_classes_is_refused(make, tmp_path):
    artifact = dataclasses.replace(make.threshold(dims=2), classes=("background", "a", "b"))
    with pytest.raises(ExportError, match=r"3 classes need \(2, 3, 8, 8\)"):
        export(artifact, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_onnx_cannot_express_is_refused_in_one_line(make, tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x.repeat(1, 2, 1, 1) if float(x.sum()) > 0 else x.repeat(1, 2, 1, 1) * 2

    artifact = dataclasses.replace(make.threshold(dims=2), module=Branching())
    with pytest.raises(ExportError, match="cannot be expressed in ONNX") as caught:
        export(artifact, tmp_path / "b")
    assert "\n" not in str(caught.value)
