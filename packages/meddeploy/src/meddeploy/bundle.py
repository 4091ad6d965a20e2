"""A bundle: the graph, and all that must happen before and after it, in one folder that says when it was altered."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from meddeploy.errors import BundleError
from medmodels import EncoderCard, Preprocessing

GRAPH = "model.onnx"
METADATA = "bundle.json"
FORMAT = 1
KINDS = ("segmentation", "classification")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model ready to run.

    Attributes:
        folder: holds `model.onnx` and `bundle.json`.
        kind: `segmentation` or `classification`.
        classes: names of the outputs; a segmentation's begin with `background`.
        preprocessing: what to do to an image before the graph.
        card: where the weights come from.
        calibration: `scale` and `bias` of each output (Platt), or empty.
        in_channels: channels of the graph's input.
        overlap: share by which neighbouring windows overlap (segmentation).
        tta_flips: spatial axes over whose flips to average (segmentation).
        sha256: of `model.onnx`.
        opset: ONNX operator set of the graph.
        input_name: of the graph, (B, C, *patch_size) float32.
        output_name: of the graph, logits (B, K, *patch_size) or (B, K) float32.
        versions: of the packages that wrote it.
    """

    folder: Path
    kind: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: EncoderCard
    calibration: Mapping[str, tuple[float, ...]]
    in_channels: int
    overlap: float
    tta_flips: tuple[int, ...]
    sha256: str
    opset: int
    input_name: str
    output_name: str
    versions: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a bundle and check that its graph is the one that was exported.

        Args:
            folder: as written by `export`.

        Raises:
            BundleError: for a missing, incomplete or altered bundle, or one of a format that this version does not read.
        """
        root = Path(folder)
        if not root.is_dir():
            raise BundleError(root, "no such folder; give the folder that `meddeploy.export` wrote")
        try:
            data = json.loads((root / METADATA).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(root, f"has no {METADATA}: no bundle, or an export that was cut off; export again") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BundleError(root / METADATA, f"is not JSON ({error}); export again") from error
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise BundleError(
                root / METADATA, f"has format {found}, this version reads {FORMAT}; export again or use the version that wrote it"
            )
        try:
            bundle = cls._from_dict(root, data)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(root / METADATA, f"lacks or garbles a field ({type(error).__name__}: {error}); export again") from error
        bundle.read_graph()
        return bundle

    def read_graph(self) -> bytes:
        """Read the graph, checked against its hash.

        Raises:
            BundleError: where it is missing or altered.
        """
        path = self.folder / GRAPH
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise BundleError(path, "is missing; copy the whole bundle again or export again") from None
        actual = hashlib.sha256(content).hexdigest()
        if actual != self.sha256:
            raise BundleError(
                path,
                f"has sha256 {actual[:12]}…, {METADATA} says {self.sha256[:12]}…: altered or cut short; copy the bundle again or export again",
            )
        return content

    def to_dict(self) -> dict[str, Any]:
        """The content of `bundle.json`, plain JSON values."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_dict(),
            "card": self.card.to_dict(),
            "calibration": {name: list(values) for name, values in self.calibration.items()},
            "inference": {"overlap": self.overlap, "tta_flips": list(self.tta_flips)},
            "graph": {
                "file": GRAPH,
                "sha256": self.sha256,
                "opset": self.opset,
                "input": self.input_name,
                "output": self.output_name,
                "in_channels": self.in_channels,
            },
            "versions": dict(self.versions),
        }

    @classmethod
    def _from_dict(cls, folder: Path, data: Mapping[str, Any]) -> Self:
        graph, inference = data["graph"], data["inference"]
        classes = tuple(str(name) for name in data["classes"])
        calibration = {str(name): tuple(float(v) for v in values) for name, values in data["calibration"].items()}
        if data["kind"] not in KINDS:
            raise ValueError(f"kind {data['kind']!r} is none of {', '.join(KINDS)}")
        if calibration and (set(calibration) != {"scale", "bias"} or any(len(v) != len(classes) for v in calibration.values())):
            raise ValueError("calibration needs one scale and one bias a class")
        return cls(
            folder=folder,
            kind=data["kind"],
            classes=classes,
            preprocessing=Preprocessing.from_dict(data["preprocessing"]),
            card=EncoderCard.from_dict(data["card"]),
            calibration=calibration,
            in_channels=int(graph["in_channels"]),
            overlap=float(inference["overlap"]),
            tta_flips=tuple(int(a) for a in inference["tta_flips"]),
            sha256=str(graph["sha256"]),
            opset=int(graph["opset"]),
            input_name=str(graph["input"]),
            output_name=str(graph["output"]),
            versions=dict(data["versions"]),
        )


def write_bundle(bundle: Bundle, graph: bytes) -> None:
    """Write both files. The metadata goes last: a bundle exists when its metadata exists, so a killed export leaves none behind."""
    bundle.folder.mkdir(parents=True, exist_ok=True)
    (bundle.folder / METADATA).unlink(missing_ok=True)
    _write(bundle.folder / GRAPH, graph)
    _write(bundle.folder / METADATA, (json.dumps(bundle.to_dict(), indent=2, allow_nan=False) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
