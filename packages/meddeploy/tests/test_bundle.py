import json
import pickle

import pytest

from meddeploy import Bundle, BundleError, DeployError, Predictor


def _edit(folder, change):
    path = folder / "bundle.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_one_changed_byte_of_the_graph_is_refused_by_its_hash(threshold, copied):
    folder = copied(threshold)
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx: has sha256 .*altered or cut short; copy the bundle again"):
        Bundle.load(folder)


def test_a_graph_altered_after_loading_is_refused_when_it_is_run(threshold, copied):
    folder = copied(threshold)
    bundle = Bundle.load(folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-3])
    with pytest.raises(BundleError, match="sha256"):
        Predictor(bundle)


def test_missing_parts_are_named(threshold, copied, tmp_path):
    with pytest.raises(BundleError, match=r"nowhere: no such folder"):
        Bundle.load(tmp_path / "nowhere")
    folder = copied(threshold)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: is missing"):
        Bundle.load(folder)
    (folder / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "has format 2, this version reads 1"),
        (lambda d: d.pop("graph"), "lacks or garbles a field .*graph"),
        (lambda d: d["preprocessing"].update(patch_size=[0, 0, 0]), "patch_size"),
        (lambda d: d.update(kind="detection"), "kind 'detection'"),
        (lambda d: d.update(calibration={"scale": [1.0]}), "calibration needs"),
    ],
)
def test_metadata_that_cannot_be_trusted_is_refused(threshold, copied, change, message):
    folder = copied(threshold)
    _edit(folder, change)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def test_metadata_that_is_not_json_is_refused(threshold, copied):
    folder = copied(threshold)
    (folder / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json: is not JSON"):
        Bundle.load(folder)


def test_errors_survive_a_process_pool():
    error = pickle.loads(pickle.dumps(BundleError("b/model.onnx", "is missing")))
    assert str(error) == "b/model.onnx: is missing"
    assert isinstance(error, DeployError)
