"""The graph on onnxruntime."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from meddeploy.bundle import Bundle
from meddeploy.errors import BackendError

CPU = "CPUExecutionProvider"


class OnnxRuntime:
    """A session of onnxruntime over a bundle's graph.

    Args:
        bundle: its graph is read anew, and checked.
        threads: for one operator; None lets onnxruntime take all cores.
        providers: execution providers in order of preference. The first must be the one that runs.

    Raises:
        BackendError: where onnxruntime is not installed, or silently fell back to another provider.
        BundleError: where the graph was altered.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None, providers: Sequence[str] = (CPU,)) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(bundle.folder, "onnxruntime is not installed; install meddeploy[cpu] (or meddeploy[gpu])") from error
        if threads is not None and threads < 1:
            raise BackendError(bundle.folder, f"threads must be at least 1, got {threads}")
        available = onnxruntime.get_available_providers()
        if providers[0] not in available:
            raise BackendError(
                bundle.folder,
                f"onnxruntime has no {providers[0]}, only {', '.join(available)}; install meddeploy[gpu] for CUDA, or ask for {CPU}",
            )
        graph = bundle.read_graph()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        except Exception as error:  # its errors have no common base; the cause is kept
            raise BackendError(bundle.folder, f"onnxruntime {onnxruntime.__version__} cannot load the graph: {error}") from error
        # onnxruntime-gpu that cannot load CUDA runs on the CPU without an error.
        got = self._session.get_providers()[0]
        if got != providers[0]:
            raise BackendError(bundle.folder, f"asked for {providers[0]}, onnxruntime took {got}; mend the driver or ask for {CPU}")
        self.provider: str = got
        self._input, self._output = bundle.input_name, bundle.output_name

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of windows (B, C, *patch_size) float32, on the CPU."""
        (logits,) = self._session.run([self._output], {self._input: x.contiguous().numpy()})
        return torch.from_numpy(logits)
