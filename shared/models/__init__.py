"""Models: the contract that each states, the folders they lie in, the catalog of them, and how their activation ended."""
