"""The libraries of the extra `medio[pacs]`, imported where they are used."""

from types import ModuleType
from typing import Any


def pynetdicom() -> ModuleType:
    """Import pynetdicom.

    Raises:
        ImportError: names the extra.
    """
    try:
        import pynetdicom
    except ImportError as error:
        raise ImportError('DIMSE needs pynetdicom: pip install "medio[pacs]"') from error
    return pynetdicom


def dicomweb_client() -> Any:
    """Import the client of dicomweb-client.

    Raises:
        ImportError: names the extra.
    """
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise ImportError('DICOMweb needs dicomweb-client: pip install "medio[pacs]"') from error
    return DICOMwebClient
