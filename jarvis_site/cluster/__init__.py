"""`make cluster`: what runs on many machines, on this one. See `__main__.py`."""
