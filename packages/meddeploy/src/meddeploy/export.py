"""From a trained artifact to a bundle: ONNX graph with a dynamic batch and a fixed window."""

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch

from meddeploy.bundle import KINDS, Bundle, write_bundle
from meddeploy.errors import ExportError
from medmodels import Artifact

OPSET = 18
"""ONNX operator set of exported graphs: the newest that onnxruntime, OpenVINO and TensorRT in use all read."""


def export(artifact: Artifact, folder: Path | str) -> Bundle:
    """Export a segmentation or classification artifact.

    The graph maps `image` (B, C, *patch_size) float32, already preprocessed, to `logits`; the batch is dynamic, the window fixed (a fully dynamic
    space makes some networks take minutes to export, and sliding happens outside). Traces of the exporting machine are removed from it. The artifact's
    module is not changed.

    Args:
        artifact: from a task's `artifact()` or `medfinetune.load_artifact`.
        folder: made here; an older bundle in it is replaced, and is never half replaced: `bundle.json` goes first and comes last.

    Returns:
        The bundle, loaded from the folder.

    Raises:
        ExportError: for an encoder, or a network that ONNX cannot express.
    """
    root = Path(folder)
    if artifact.kind not in KINDS:
        raise ExportError(root, f"an artifact of kind {artifact.kind!r} has no answer to deploy; export one of kind {' or '.join(KINDS)}")
    channels = int(artifact.card.kwargs.get("in_channels", 1))
    graph = _graph(artifact, channels, root)
    inference = artifact.config.get("inference", {})
    bundle = Bundle(
        folder=root,
        kind=artifact.kind,
        classes=artifact.classes,
        preprocessing=artifact.preprocessing,
        card=artifact.card,
        calibration=artifact.calibration,
        in_channels=channels,
        overlap=float(inference.get("overlap", 0.5)),
        tta_flips=tuple(inference.get("tta_flips", ())),
        sha256=hashlib.sha256(graph).hexdigest(),
        opset=OPSET,
        input_name="image",
        output_name="logits",
        versions={name: version(name) for name in ("meddeploy", "medmodels", "torch", "onnx", "onnxscript")},
    )
    write_bundle(bundle, graph)
    return Bundle.load(root)


def _graph(artifact: Artifact, channels: int, root: Path) -> bytes:
    module = copy.deepcopy(artifact.module).cpu().eval()
    # Two samples: a batch of one would be taken for a constant.
    example = torch.zeros(2, channels, *artifact.preprocessing.patch_size)
    with torch.no_grad():
        outputs = tuple(module(example).shape)
    expected = (2, len(artifact.classes), *(() if artifact.kind == "classification" else artifact.preprocessing.patch_size))
    if outputs != expected:
        raise ExportError(root, f"the network answers {outputs} to a batch of two, its {len(artifact.classes)} classes need {expected}")
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common base; the cause is kept
        reason = " ".join(str(error).split())[:300]
        raise ExportError(root, f"the network {artifact.card.arch!r} cannot be expressed in ONNX: {reason}") from error
    if program is None:
        raise ExportError(root, "torch.onnx returned no program; install onnxscript")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(model: Any) -> None:
    """Remove what the exporter noted about the machine it ran on: stack traces with paths."""
    for container in (model, model.graph, *model.functions):
        del container.metadata_props[:]
        container.doc_string = ""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer)
    nodes = (*model.graph.node, *(node for function in model.functions for node in function.node))
    for item in (*values, *nodes):
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about its own internals from the user; its errors are raised, not logged."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
