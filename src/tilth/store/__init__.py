"""Records, kept: one interface, with a home in SQL and one behind HTTP."""

from tilth.store.opening import open_store
from tilth.store.protocol import Change, Delete, Page, Put, Store, walk

__all__ = ["Change", "Delete", "Page", "Put", "Store", "open_store", "walk"]
