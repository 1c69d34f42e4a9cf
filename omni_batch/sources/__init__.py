"""Where data live beside plain files: members of archives, objects of stores. Read whole, once."""

from omni_batch.sources.address import Address, is_store
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.sources import Sources
from omni_batch.sources.spool import Spooled

__all__ = ["Address", "SourceFault", "Sources", "Spooled", "is_store"]
