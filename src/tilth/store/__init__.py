"""Records, kept: one interface, with a home in SQL."""

from tilth.store.protocol import Change, Delete, Page, Put, Store, walk
from tilth.store.sql import SqlStore, open_store

__all__ = ["Change", "Delete", "Page", "Put", "SqlStore", "Store", "open_store", "walk"]
