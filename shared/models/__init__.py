"""Models: their contracts, their folders, the catalog, and their activation."""
