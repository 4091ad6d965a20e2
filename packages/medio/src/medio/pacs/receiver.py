"""A C-STORE server: where C-MOVE, scanners and other archives send to."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medio.errors import MedioError, PacsError
from medio.pacs.extra import pynetdicom
from medio.pacs.transfers import save


class Receiver:
    """Accept objects of every storage class in every transfer syntax and write each as `<out>/<study>/<series>/<instance>.dcm`, whole or not at all.

    Use it as a context manager; inside, it listens. An object that cannot be written is refused, so its sender knows.

    Args:
        out: folder, made if absent.
        ae_title: what others call it.
        host: address to listen on; this machine only by default.
        port: 0 takes a free one, see `port`.
        on_stored: called with the path of each new file, from the server's threads.
        allowed: AE titles that may send; None lets anyone.

    Attributes:
        received: number of objects written.
    """

    def __init__(
        self,
        out: Path | str,
        *,
        ae_title: str = "MEDIO",
        host: str = "127.0.0.1",
        port: int = 0,
        on_stored: Callable[[Path], None] | None = None,
        allowed: tuple[str, ...] | None = None,
    ) -> None:
        self.out = Path(out)
        self.ae_title = ae_title
        self.host = host
        self.received = 0
        self._port = port
        self._on_stored = on_stored
        self._allowed = allowed
        self._failure: MedioError | None = None
        self._server: Any = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.socket.getsockname()[1]) if self._server is not None else self._port

    def __enter__(self) -> Self:
        net = pynetdicom()
        entity = net.AE(self.ae_title)
        for context in net.AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, net.ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context("1.2.840.10008.1.1")
        if self._allowed is not None:
            entity.require_calling_aet = list(self._allowed)
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            self._server = entity.start_server((self.host, self._port), block=False, evt_handlers=[(net.evt.EVT_C_STORE, self._store)])
        except OSError as error:
            raise PacsError(
                f"{self.ae_title}@{self.host}:{self._port}", f"cannot listen there ({error.strerror}); choose another port"
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server = None

    def raise_failure(self) -> None:
        """Raise the first failure to write since the last call, if there was one.

        Raises:
            MedioError: a full disk, or an object without UIDs.
        """
        with self._lock:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _store(self, event: Any) -> int:
        try:
            path = save(event.encoded_dataset(), self.out)
        except OSError as error:
            self._fail(PacsError(self.out, f"cannot be written ({error.strerror}); make room and run it again"))
            return 0xA700
        except MedioError as error:
            self._fail(error)
            return 0xA900
        with self._lock:
            self.received += 1
        if self._on_stored is not None:
            self._on_stored(path)
        return 0

    def _fail(self, error: MedioError) -> None:
        with self._lock:
            self._failure = self._failure or error
