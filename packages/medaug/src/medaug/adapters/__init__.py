"""Adapters for other libraries: `medaug.adapters.monai` (extra `monai`), `medaug.adapters.torchio` (extra `torchio`)."""
