"""Archives on the network: query, retrieve and store by DIMSE and by DICOMweb; needs the extra `medio[pacs]`."""

from medio.pacs.dimse import DimsePeer
from medio.pacs.receiver import Receiver
from medio.pacs.transfers import RetrieveReport, StoreReport
from medio.pacs.web import WebPeer

__all__ = ["DimsePeer", "Receiver", "RetrieveReport", "StoreReport", "WebPeer"]
