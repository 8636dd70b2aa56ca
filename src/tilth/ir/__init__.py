"""The compiled pipeline: what it holds, its JSON, its digest."""
