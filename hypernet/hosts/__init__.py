"""Where imports of the first release still lead; the code is in `hypernet.pipeline`."""
